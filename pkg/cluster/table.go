package cluster

import (
	"context"
	"encoding/json"
	"math"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Table is what a server prints of objects of a kind, as it does for kubectl.
type Table struct {
	Columns []TableColumn
	Rows    []TableRow
}

// TableColumn is a column of a Table.
type TableColumn struct {
	Name string
	// Wide is a column that is shown where a person asks for more.
	Wide bool
}

// TableRow is what is printed of one object.
type TableRow struct {
	Namespace, Name string
	// Cells are one for each column, as texts.
	Cells []string
}

// maxColumns bounds the columns of a table. Those of Kubernetes' own kinds are fifteen at most.
const maxColumns = 40

// ReadTable reads the table of all objects of a kind that o selects. The server sends no more of them than their metadata.
func ReadTable(ctx context.Context, c *Conn, r Resource, o ListOptions) (*Table, error) {
	var t *Table
	var all counter
	begin := func() { t, all = &Table{}, counter{limit: listLimits[c.side]} }
	decode := func(body []byte) (page[TableRow], error) {
		columns, p, err := decodeTable(body)
		if err == nil && t.Columns == nil { // pages after the first have none
			t.Columns = columns
		}
		return p, err
	}
	_, err := readPages(ctx, c, r, o, "application/json;as=Table;g=meta.k8s.io;v=v1,application/json", decode, begin, func(body []byte, rows []TableRow) error {
		t.Rows = append(t.Rows, rows...)
		return all.count(body)
	})
	if err != nil {
		return nil, err
	}
	for i := range t.Rows {
		t.Rows[i].Cells = append(t.Rows[i].Cells, make([]string, len(t.Columns))...)[:len(t.Columns)]
	}
	return t, nil
}

// decodeTable reads a page of a table.
func decodeTable(body []byte) (columns []TableColumn, p page[TableRow], err error) {
	var sent metav1.Table
	if err := json.Unmarshal(body, &sent); err != nil {
		return nil, p, err
	}
	if sent.Kind != "Table" {
		return decodeList(body)
	}
	p.ListMeta = sent.ListMeta
	for _, d := range sent.ColumnDefinitions[:min(len(sent.ColumnDefinitions), maxColumns)] {
		columns = append(columns, TableColumn{Name: d.Name, Wide: d.Priority > 0})
	}
	for _, row := range sent.Rows {
		var object metav1.PartialObjectMetadata
		if err := json.Unmarshal(row.Object.Raw, &object); err != nil && len(row.Object.Raw) > 0 {
			return nil, p, err
		}
		made := TableRow{Namespace: object.Namespace, Name: object.Name}
		for _, cell := range row.Cells[:min(len(row.Cells), maxColumns)] {
			made.Cells = append(made.Cells, cellText(cell))
		}
		p.Items = append(p.Items, made)
	}
	return columns, p, nil
}

// decodeList reads a page of a list, which a server sends that prints no tables, as one of names.
func decodeList(body []byte) (columns []TableColumn, p page[TableRow], err error) {
	list, err := typedPage[metav1.PartialObjectMetadata](body)
	p.ListMeta = list.ListMeta
	for _, object := range list.Items {
		p.Items = append(p.Items, TableRow{Namespace: object.Namespace, Name: object.Name, Cells: []string{object.Name}})
	}
	return []TableColumn{{Name: "Name"}}, p, err
}

// cellText is a cell as kubectl prints it.
func cellText(cell any) string {
	switch cell := cell.(type) {
	case nil:
		return "<none>"
	case string:
		return cell
	case float64:
		if cell == math.Trunc(cell) {
			return strconv.FormatFloat(cell, 'f', -1, 64)
		}
	}
	text, err := json.Marshal(cell)
	if err != nil {
		return "<unknown>"
	}
	return string(text)
}
