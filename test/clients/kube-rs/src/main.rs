//! A program made with kube-rs as its users make theirs: it takes $KUBECONFIG as it is and knows nothing of mcm.
//! It understands the same words as the one made with client-go (`../go/client-go`), but knows no SPDY:
//!
//!   kube-rs-client [-context NAME] [-transport websocket] VERB …
//!
//!   whoami                   the name the API server knows the caller by
//!   list NAMESPACE           the names of its ConfigMaps, one a line
//!   watch NAMESPACE          "added NAME", then "synced", then "added NAME", "modified NAME", "deleted NAME"
//!   exec POD -- COMMAND…     stdin, stdout, stderr and exit code are those of the command
//!   port-forward POD PORT    "forwarding LOCAL", until it is ended
use std::error::Error;
use std::process::ExitCode;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, PostParams, WatchEvent, WatchParams};
use kube::config::{Config, KubeConfigOptions};
use kube::{Client, ResourceExt};

mod streams;

pub type Failure = Box<dyn Error + Send + Sync>;

/// Makes a list of the tests take several requests.
const PAGE_SIZE: u32 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()).await {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("{}", with_causes(&*failure));
            ExitCode::from(1)
        }
    }
}

async fn run(words: Vec<String>) -> Result<u8, Failure> {
    let (context, words) = options(words)?;
    let choice = KubeConfigOptions {
        context,
        ..Default::default()
    };
    let client = Client::try_from(Config::from_kubeconfig(&choice).await?)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["whoami"] => who_am_i(client).await?,
        ["list", namespace] => list(client, namespace).await?,
        ["watch", namespace] => watch(client, namespace).await?,
        ["exec", pod, "--", command @ ..] => return streams::exec(client, pod, command).await,
        ["port-forward", pod, port] => streams::port_forward(client, pod, port.parse()?).await?,
        _ => return Err(format!("unknown words: {words:?}").into()),
    }
    Ok(0)
}

fn options(mut words: Vec<String>) -> Result<(Option<String>, Vec<String>), Failure> {
    let mut context = None;
    while words.len() > 1 && words[0].starts_with('-') {
        match words[0].as_str() {
            "-context" => context = Some(words[1].clone()),
            "-transport" if words[1] == "websocket" => {}
            unknown => return Err(format!("unknown option: {unknown} {}", words[1]).into()),
        }
        words.drain(..2);
    }
    Ok((context, words))
}

async fn who_am_i(client: Client) -> Result<(), Failure> {
    let review = SelfSubjectReview::default();
    let answer = Api::all(client)
        .create(&PostParams::default(), &review)
        .await?;
    let user = answer
        .status
        .and_then(|status| status.user_info)
        .ok_or("an answer without a user")?;
    println!("{}", user.username.unwrap_or_default());
    Ok(())
}

async fn list(client: Client, namespace: &str) -> Result<(), Failure> {
    let config_maps: Api<ConfigMap> = Api::namespaced(client, namespace);
    let mut parameters = ListParams::default().limit(PAGE_SIZE);
    loop {
        let page = config_maps.list(&parameters).await?;
        page.iter().for_each(|each| println!("{}", each.name_any()));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(()),
        }
    }
}

async fn watch(client: Client, namespace: &str) -> Result<(), Failure> {
    let config_maps: Api<ConfigMap> = Api::namespaced(client, namespace);
    let all = config_maps.list(&ListParams::default()).await?;
    all.iter()
        .for_each(|each| println!("added {}", each.name_any()));
    println!("synced");
    let version = all.metadata.resource_version.unwrap_or_default();
    let mut events = config_maps
        .watch(&WatchParams::default(), &version)
        .await?
        .boxed();
    while let Some(event) = events.try_next().await? {
        match event {
            WatchEvent::Added(each) => println!("added {}", each.name_any()),
            WatchEvent::Modified(each) => println!("modified {}", each.name_any()),
            WatchEvent::Deleted(each) => println!("deleted {}", each.name_any()),
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => return Err(Box::new(status)),
        }
    }
    Ok(())
}

/// kube-rs says what failed, and in the causes why.
fn with_causes(failure: &(dyn Error + 'static)) -> String {
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
