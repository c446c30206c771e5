//go:build tools

// Package tools names the programs that this module pins, so that go.mod keeps what they need. Both helms are
// built with one set of modules, which halves what is to be compiled.
package tools

import (
	_ "helm.sh/helm/v3/cmd/helm"
	_ "helm.sh/helm/v4/cmd/helm"
)
