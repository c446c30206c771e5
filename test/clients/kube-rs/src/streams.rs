use futures::future::try_join;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Api, AttachParams, AttachedProcess};
use kube::Client;
use tokio::io::{
    copy, copy_bidirectional, stderr, stdin, stdout, AsyncRead, AsyncWrite, AsyncWriteExt,
};
use tokio::net::{TcpListener, TcpStream};

use crate::Failure;

/// The one all pods of the tests are in.
const NAMESPACE: &str = "default";

/// The exit code of the command.
pub async fn exec(client: Client, pod: &str, command: &[&str]) -> Result<u8, Failure> {
    let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
    let parameters = AttachParams::default()
        .stdin(true)
        .stdout(true)
        .stderr(true);
    let mut process = pods.exec(pod, command.iter().copied(), &parameters).await?;
    let status = process.take_status().ok_or("no status")?;
    carry(&mut process).await?;
    exit_code(status.await.ok_or("the stream ended without a status")?)
}

async fn carry(process: &mut AttachedProcess) -> Result<(), Failure> {
    let input = process.stdin().ok_or("no stdin")?;
    let (output, errors) = process.stdout().zip(process.stderr()).ok_or("no output")?;
    // The command may end without reading its input.
    tokio::spawn(pour(stdin(), input));
    try_join(pour(output, stdout()), pour(errors, stderr())).await?;
    Ok(())
}

async fn pour(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> std::io::Result<()> {
    copy(&mut from, &mut to).await?;
    to.flush().await?;
    to.shutdown().await
}

/// As the API server says it: no details where the command ended with 0, else a cause with the code.
fn exit_code(status: Status) -> Result<u8, Failure> {
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status
        .details
        .and_then(|details| details.causes)
        .unwrap_or_default();
    let code = causes
        .into_iter()
        .find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    match code.and_then(|cause| cause.message) {
        Some(code) => Ok(code.parse()?),
        None => Err(status.message.unwrap_or_default().into()),
    }
}

/// As `kubectl port-forward`, but each connection has a stream to the API server of its own.
pub async fn port_forward(client: Client, pod: &str, port: u16) -> Result<(), Failure> {
    let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("forwarding {}", listener.local_addr()?.port());
    loop {
        let (connection, _) = listener.accept().await?;
        let (pods, pod) = (pods.clone(), pod.to_owned());
        tokio::spawn(async move {
            if let Err(failure) = forward(pods, &pod, port, connection).await {
                eprintln!("{failure}");
            }
        });
    }
}

async fn forward(
    pods: Api<Pod>,
    pod: &str,
    port: u16,
    mut connection: TcpStream,
) -> Result<(), Failure> {
    let mut forwarder = pods.portforward(pod, &[port]).await?;
    let mut stream = forwarder.take_stream(port).ok_or("no stream")?;
    copy_bidirectional(&mut connection, &mut stream).await?;
    drop(stream);
    Ok(forwarder.join().await?)
}
