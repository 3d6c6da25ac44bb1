package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
)

//go:embed openapi.yaml
var openAPISource []byte

//go:embed docs/docs.html
var docsPage string

//go:embed docs/docs.css
var docsStyle string

//go:embed docs/docs.js
var docsScript string

//go:embed docs/home.html
var homePage string

// documents are the answers that never change.
type documents struct {
	openAPI    []byte
	openAPITag string
	docs, home page
}

// page is an HTML page with the policy that lets exactly its own style and
// script run.
type page struct {
	html   []byte
	policy string
}

func newDocuments(version string) (documents, error) {
	if version == "" {
		version = "development"
	}
	plain, err := openAPIJSON()
	if err != nil {
		return documents{}, fmt.Errorf("read the embedded openapi.yaml: %w", err)
	}
	openAPI := bytes.Replace(plain, []byte(`"version": "development"`), []byte(`"version": `+quoted(version)), 1)
	sum := sha256.Sum256(openAPI)
	return documents{
		openAPI:    openAPI,
		openAPITag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`,
		docs:       newPage(docsPage),
		home:       newPage(homePage),
	}, nil
}

// openAPIJSON is the document as JSON with the members in their order.
var openAPIJSON = sync.OnceValues(func() ([]byte, error) {
	doc, err := yaml.YAMLToJSON(openAPISource)
	return bytes.TrimSpace(doc), err
})

func quoted(s string) string {
	doc, _ := json.Marshal(s)
	return string(doc)
}

// newPage puts style and script into the page, so that it is one answer, and
// names both in the page's policy by their hashes.
func newPage(html string) page {
	html = strings.NewReplacer("/*style*/", docsStyle, "/*script*/", docsScript).Replace(html)
	policy := "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
		"style-src '" + hashSource(docsStyle) + "'"
	if strings.Contains(html, docsScript) {
		policy += "; script-src '" + hashSource(docsScript) + "'; connect-src 'self'"
	}
	return page{[]byte(html), policy}
}

func hashSource(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func (c *call) openAPI() error {
	if err := c.valid(); err != nil {
		return err
	}
	tag := c.s.documents.openAPITag
	c.setHeader("ETag", tag)
	c.setHeader("Cache-Control", "no-cache")
	if noneMatch(c.Request.Header, tag) {
		c.Writer.WriteHeader(http.StatusNotModified)
		return nil
	}
	writeBytes(c.Context, http.StatusOK, "application/json", c.s.documents.openAPI)
	return nil
}

func (c *call) docs() error { return c.page(c.s.documents.docs) }

func (c *call) home() error { return c.page(c.s.documents.home) }

func (c *call) page(p page) error {
	if err := c.valid(); err != nil {
		return err
	}
	c.setHeader("Cache-Control", "no-cache")
	c.setHeader("Content-Security-Policy", p.policy)
	writeBytes(c.Context, http.StatusOK, "text/html; charset=utf-8", p.html)
	return nil
}
