package cli

import (
	"bufio"
	"context"
	"io"
	"strings"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
)

// ask prints a question, and is nil where a person answers it with yes.
func (d *factory) ask(ctx context.Context, question string) error {
	output.Line(d.ErrOut, question+" [y/N]")
	type line struct {
		text string
		err  error
	}
	answered := make(chan line, 1)
	go func() { // it may wait for longer than the command
		text, err := bufio.NewReader(io.LimitReader(d.In, 100)).ReadString('\n')
		answered <- line{strings.ToLower(strings.TrimSpace(text)), err}
	}()
	select {
	case <-ctx.Done():
		return output.ErrInterrupted
	case answer := <-answered:
		switch {
		case answer.text == "y", answer.text == "yes":
			return nil
		case answer.text == "" && answer.err != nil:
			return output.Usagef("no answer; confirm with --yes where there is no terminal")
		}
		return output.Usagef("not confirmed; nothing was changed")
	}
}
