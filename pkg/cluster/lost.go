package cluster

import (
	"context"
	"errors"
	"io"
	"syscall"
)

// isLost says whether a connection ended before the answer came.
func isLost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
