// Package certmanager pins the cert-manager whose CustomResourceDefinitions the tests install. Nothing of it is
// compiled.
package certmanager

import _ "github.com/cert-manager/cert-manager/pkg/apis/certmanager" // so that go mod tidy keeps the requirement
