package cli

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestCreate holds that a file is there whole or not at all, that only its owner can read it, and that none is overwritten.
func TestCreate(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "a.tar.gz")
	write := func(text string, err error) func(io.Writer) error {
		return func(w io.Writer) error {
			if _, err := io.WriteString(w, text); err != nil {
				return err
			}
			return err
		}
	}
	broken := errors.New("broken")
	if err := create(path, write("half", broken)); !errors.Is(err, broken) {
		t.Error(err)
	}
	if err := create(path, write("whole", nil)); err != nil {
		t.Fatal(err)
	}
	if err := create(path, write("other", nil)); err == nil {
		t.Error("it was overwritten")
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "whole" {
		t.Errorf("%q, %v", content, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&^fs.FileMode(0o600) != 0 && filepath.Separator == '/' {
		t.Errorf("%v, %v", info, err)
	}
	if files, err := os.ReadDir(folder); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
}
