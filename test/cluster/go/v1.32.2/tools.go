//go:build tools

// Package tools names the program that this module pins, so that go.mod keeps what it needs.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kubectl"
)
