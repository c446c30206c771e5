// A program made with client-go as its users make theirs: it takes $KUBECONFIG as it is and knows nothing of mcm.
//
//	client-go [-context NAME] [-as USER] [-transport websocket|spdy] VERB …
//
//	whoami                     the name the API server knows the caller by
//	list NAMESPACE             the names of its ConfigMaps, one a line
//	watch NAMESPACE            "synced", then "added NAME", "modified NAME", "deleted NAME" by a shared informer
//	exec POD -- COMMAND…       stdin, stdout, stderr and exit code are those of the command
//	port-forward POD PORT      "forwarding LOCAL", until it is ended
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	utilexec "k8s.io/client-go/util/exec"
)

// namespace is the one all pods of the tests are in.
const namespace = "default"

type client struct {
	config    *rest.Config
	clientset *kubernetes.Clientset
	transport string
}

func main() {
	contextName := flag.String("context", "", "the context of the kubeconfig")
	as := flag.String("as", "", "the user to impersonate")
	transport := flag.String("transport", "websocket", "of streams: websocket or spdy")
	flag.Parse()
	err := run(*contextName, *as, *transport, flag.Args())
	var ended utilexec.ExitError
	if errors.As(err, &ended) {
		os.Exit(ended.ExitStatus())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(contextName, as, transport string, words []string) error {
	client, err := connect(contextName, as, transport)
	if err != nil {
		return err
	}
	ctx := context.Background()
	switch {
	case len(words) == 1 && words[0] == "whoami":
		return client.whoAmI(ctx)
	case len(words) == 2 && words[0] == "list":
		return client.list(ctx, words[1])
	case len(words) == 2 && words[0] == "watch":
		return client.watch(ctx, words[1])
	case len(words) > 3 && words[0] == "exec" && words[2] == "--":
		return client.exec(ctx, words[1], words[3:])
	case len(words) == 3 && words[0] == "port-forward":
		return client.portForward(words[1], words[2])
	}
	return fmt.Errorf("unknown words: %q", words)
}

func connect(contextName, as, transport string) (*client, error) {
	overrides := &clientcmd.ConfigOverrides{CurrentContext: contextName}
	overrides.AuthInfo.Impersonate = as
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if err != nil {
		return nil, err
	}
	clientset, err := kubernetes.NewForConfig(config)
	return &client{config, clientset, transport}, err
}

func (c *client) whoAmI(ctx context.Context) error {
	review := &authenticationv1.SelfSubjectReview{}
	answer, err := c.clientset.AuthenticationV1().SelfSubjectReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	fmt.Println(answer.Status.UserInfo.Username)
	return nil
}
