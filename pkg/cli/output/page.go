package output

import (
	_ "embed"
	"html/template"
	"io"
)

// Page is a federation, or several, as one file for a browser: for mail and notes of an incident.
type Page struct {
	// Title is above the page. Host is where it was read, Read when, and By what.
	Title, Host, Read, By string
	// Summary counts all members, and Note is what is not known of them; it may be empty.
	Summary string
	Note    string
	Phases  []PageCount
	// Versions counts members by the version of Kubernetes, and Skew says how far apart these are.
	Versions []PageCount
	Skew     string
	// Wrong are the members that are not well, the most urgent first.
	Wrong       []PageMember
	Federations []PageFederation
}

// PageCount is how many members have something in common.
type PageCount struct {
	Name  string
	Count int
	Class string
}

// PageFederation is a federation on a page.
type PageFederation struct {
	Name, Description, Summary string
	Members                    []PageMember
}

// PageMember is a member on a page.
type PageMember struct {
	Name, Federation, Phase, Class        string
	Cause, Message, Since                 string
	LastContact, Credential, Version      string
	Region, Zones, Nodes, Server, Command string
}

// Class is how a page shows a level.
func (l Level) Class() string {
	return map[Level]string{Good: "good", Waiting: "waits", Bad: "bad"}[l]
}

//go:embed page.html
var pageText string

// page is parsed when it is first printed: most commands print none.
func pageTemplate() (*template.Template, error) { return template.New("page").Parse(pageText) }

// PrintPage prints a page. Text is escaped where it stands, and the page holds nothing that a browser runs or loads.
func PrintPage(w io.Writer, p *Page) error {
	t, err := pageTemplate()
	if err != nil {
		return err
	}
	p.printable()
	return t.Execute(w, p)
}

// printable makes what comes from clusters safe to read: a browser, too, acts on characters that turn the direction of text.
func (p *Page) printable() {
	for _, text := range []*string{&p.Title, &p.Host, &p.Summary, &p.Note, &p.Skew} {
		*text = OneLine(*text)
	}
	for i := range p.Versions {
		p.Versions[i].Name = OneLine(p.Versions[i].Name)
	}
	members := [][]PageMember{p.Wrong}
	for i := range p.Federations {
		f := &p.Federations[i]
		f.Name, f.Description = OneLine(f.Name), OneLine(f.Description)
		members = append(members, f.Members)
	}
	for _, all := range members {
		for i := range all {
			m := &all[i]
			for _, text := range []*string{
				&m.Name, &m.Federation, &m.Phase, &m.Cause, &m.Message, &m.Version, &m.Region, &m.Zones, &m.Server, &m.Command,
			} {
				*text = OneLine(*text)
			}
		}
	}
}
