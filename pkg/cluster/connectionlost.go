package cluster

import (
	"context"
	"errors"
	"io"
	"syscall"

	"golang.org/x/net/http2"
)

// isLost says whether a connection ended before the answer came.
func isLost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || isReset(err)
}

// isReset says whether a server, or what stands before it, gave up a request or its whole connection over HTTP/2.
func isReset(err error) bool {
	var stream http2.StreamError
	var away http2.GoAwayError
	return errors.As(err, &stream) || errors.As(err, &away)
}
