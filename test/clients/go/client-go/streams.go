package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
)

func (c *client) exec(ctx context.Context, pod string, command []string) error {
	options := &corev1.PodExecOptions{Command: command, Stdin: true, Stdout: true, Stderr: true}
	address := c.subresource(pod, "exec", options)
	executor, err := c.executor(address)
	if err != nil {
		return err
	}
	streams := remotecommand.StreamOptions{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	return executor.StreamWithContext(ctx, streams)
}

// No fallback from one transport to the other: what does not work is to be seen.
func (c *client) executor(address *url.URL) (remotecommand.Executor, error) {
	if c.transport == "spdy" {
		return remotecommand.NewSPDYExecutor(c.config, http.MethodPost, address)
	}
	return remotecommand.NewWebSocketExecutor(c.config, http.MethodGet, address.String())
}

func (c *client) portForward(pod, port string) error {
	dialer, err := c.dialer(c.subresource(pod, "portforward", nil))
	if err != nil {
		return err
	}
	stop, ready := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.New(dialer, []string{"0:" + port}, stop, ready, io.Discard, os.Stderr)
	if err != nil {
		return err
	}
	go sayWhere(forwarder, ready)
	go stopOnSignal(stop)
	return forwarder.ForwardPorts()
}

func (c *client) dialer(address *url.URL) (httpstream.Dialer, error) {
	if c.transport == "websocket" {
		return portforward.NewSPDYOverWebsocketDialer(address, c.config)
	}
	roundTripper, upgrader, err := spdy.RoundTripperFor(c.config)
	if err != nil {
		return nil, err
	}
	return spdy.NewDialer(upgrader, &http.Client{Transport: roundTripper}, http.MethodPost, address), nil
}

func (c *client) subresource(pod, name string, options *corev1.PodExecOptions) *url.URL {
	request := c.clientset.CoreV1().RESTClient().Post()
	request = request.Resource("pods").Namespace(namespace).Name(pod).SubResource(name)
	if options != nil {
		request = request.VersionedParams(options, scheme.ParameterCodec)
	}
	return request.URL()
}

func sayWhere(forwarder *portforward.PortForwarder, ready <-chan struct{}) {
	<-ready
	if ports, err := forwarder.GetPorts(); err == nil {
		fmt.Println("forwarding", ports[0].Local)
	}
}

func stopOnSignal(stop chan<- struct{}) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	<-signals
	close(stop)
}
