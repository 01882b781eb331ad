package output

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/jsonpath"
)

// customColumns print a table of what paths find in objects, as kubectl does for -o custom-columns.
type customColumns struct {
	headers []string
	paths   []*jsonpath.JSONPath
	// printed says that the header was.
	printed bool
}

// parseCustomColumns reads HEADER:PATH,HEADER:PATH.
func parseCustomColumns(spec string) (*customColumns, error) {
	c := &customColumns{}
	for part := range strings.SplitSeq(spec, ",") {
		header, path, both := strings.Cut(part, ":")
		if !both || header == "" || path == "" {
			return nil, fmt.Errorf("%q is no HEADER:PATH, as NAME:.metadata.name", part)
		}
		parsed := jsonpath.New(header).AllowMissingKeys(true)
		if err := parsed.Parse(RelaxedPath(path)); err != nil {
			return nil, err
		}
		c.headers, c.paths = append(c.headers, header), append(c.paths, parsed)
	}
	return c, nil
}

// RelaxedPath makes a JSONPath template of a path without the braces or the first dot, as kubectl does.
func RelaxedPath(path string) string {
	if strings.HasPrefix(path, "{") {
		return path
	}
	return "{." + strings.TrimPrefix(path, ".") + "}"
}

// PrintObj prints a list, or one object.
func (c *customColumns) PrintObj(object runtime.Object, w io.Writer) error {
	objects := []runtime.Object{object}
	if meta.IsListType(object) {
		var err error
		if objects, err = meta.ExtractList(object); err != nil {
			return err
		}
	}
	var rows [][]string
	if !c.printed {
		rows, c.printed = append(rows, c.headers), true
	}
	var errs []error
	for _, o := range objects {
		row, err := c.row(o)
		rows, errs = append(rows, row), append(errs, err)
	}
	return errors.Join(append(errs, Rows(w, rows))...)
}

func (c *customColumns) row(o runtime.Object) ([]string, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, err
	}
	row := make([]string, len(c.paths))
	for i, path := range c.paths {
		results, err := path.FindResults(content)
		if err != nil {
			return nil, err
		}
		var values []string
		for _, result := range results {
			for _, value := range result {
				if value.IsValid() && value.CanInterface() && value.Interface() != nil {
					values = append(values, fmt.Sprint(value.Interface()))
				}
			}
		}
		row[i] = OrNone(strings.Join(values, ","))
	}
	return row, nil
}
