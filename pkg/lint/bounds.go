package lint

import (
	"bytes"
	"fmt"
	"io"
)

// Bounds of what is read: a file may be a device. A document takes many times its size to decode, the more
// values it has the more. What is kept are the objects that are judged.
const (
	maxFile     = 32 << 20
	maxDocument = 16 << 20
	maxValues   = 400_000
	maxKept     = 64 << 20
)

// readAll reads a file to its end.
func readAll(r io.Reader) ([]byte, error) {
	all, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(all) > maxFile {
		err = fmt.Errorf("is larger than %d MiB, which is more than lint reads of a file", maxFile>>20)
	}
	return all, err
}

// checkSize refuses a document that takes too much to decode, in YAML or JSON. Each of its values but one follows one of the
// characters that are counted; those in texts are counted as well.
func checkSize(document []byte) error {
	if len(document) > maxDocument {
		return fmt.Errorf("is larger than %d MiB, which is more than lint reads of a document", maxDocument>>20)
	}
	values := 0
	for _, separator := range []string{"\n", ",", "{", "["} {
		values += bytes.Count(document, []byte(separator))
	}
	if values > maxValues {
		return fmt.Errorf("may have more than %d values, which is more than lint reads of a document: split it", maxValues)
	}
	return nil
}

// keep counts an object that is kept, and refuses it where all together are too large.
func (m *Manifests) keep(data []byte) error {
	if m.kept += len(data); m.kept > maxKept {
		return fmt.Errorf("the objects to judge are larger than %d MiB together: judge fewer files at a time", maxKept>>20)
	}
	return nil
}
