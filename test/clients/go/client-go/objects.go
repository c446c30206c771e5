package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// pageSize makes a list of the tests take several requests.
const pageSize = 2

const syncTimeout = 20 * time.Second

func (c *client) list(ctx context.Context, namespace string) error {
	options := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := c.clientset.CoreV1().ConfigMaps(namespace).List(ctx, options)
		if err != nil {
			return err
		}
		for _, each := range page.Items {
			fmt.Println(each.Name)
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return nil
		}
	}
}

func (c *client) watch(ctx context.Context, namespace string) error {
	// An informer tries for ever; one list says at once what is wrong.
	if _, err := c.clientset.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(c.clientset, 0, informers.WithNamespace(namespace))
	informer := factory.Core().V1().ConfigMaps().Informer()
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { fmt.Println("added", nameOf(object)) },
		UpdateFunc: func(_, object any) { fmt.Println("modified", nameOf(object)) },
		DeleteFunc: func(object any) { fmt.Println("deleted", nameOf(object)) },
	}
	if _, err := informer.AddEventHandler(handler); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	limited, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	if !cache.WaitForCacheSync(limited.Done(), informer.HasSynced) {
		return fmt.Errorf("not synced within %s", syncTimeout)
	}
	fmt.Println("synced")
	select {}
}

func nameOf(object any) string {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	return object.(*corev1.ConfigMap).Name
}
