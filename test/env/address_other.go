//go:build unix && !linux

package env

import "errors"

// addReserved gives the reserved address to the loopback interface, where that is known how.
func addReserved() error { return errors.ErrUnsupported }
