//go:build unix

// Package integration runs the product's parts against real API servers.
package integration

import (
	"testing"

	"github.com/kubefederate/kubectl-federate/test/env"
)

func TestMain(m *testing.M) { env.Main(m) }
