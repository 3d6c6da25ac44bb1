package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxFile is far above any configuration: a larger file is some other one.
const maxFile = 1 << 20

// file reads a YAML file.
func (l *loader) file(table []setting, path string) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.badf("--config", "", "there is no file "+quoted(path))
		return
	case err != nil:
		l.badf("--config", "", err.Error())
		return
	case !info.Mode().IsRegular() || info.Size() > maxFile:
		l.badf("--config", "", quoted(path)+" is not a configuration file")
		return
	}
	content, err := os.ReadFile(path)
	if err != nil {
		l.badf("--config", "", err.Error())
		return
	}
	l.document(table, path, content)
}

// document reads the content of a file; name is for messages.
func (l *loader) document(table []setting, name string, content []byte) {
	var root yaml.Node
	if err := yaml.Unmarshal(content, &root); err != nil {
		l.badf(name, "", strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	if root.Kind == 0 || len(root.Content) == 0 || root.Content[0].Tag == "!!null" {
		return // an empty file sets nothing
	}
	if second := documents(content); second {
		l.badf(name, "", "holds more than one document")
		return
	}
	w := walker{loader: l, table: table, name: name, seen: make(map[string]int)}
	w.mapping("", root.Content[0])
}

// documents reports whether there is another document behind the first.
func documents(content []byte) bool {
	d := yaml.NewDecoder(strings.NewReader(string(content)))
	var n yaml.Node
	if d.Decode(&n) != nil {
		return false
	}
	return d.Decode(&n) == nil
}

// walker goes through the tree and looks up every key in the table.
type walker struct {
	*loader
	table []setting
	name  string
	seen  map[string]int // line by key
}

func (w *walker) at(n *yaml.Node) string { return fmt.Sprintf("%s, line %d", w.name, n.Line) }

// mapping reads the keys under a section; prefix is the section's path with a
// dot behind it.
func (w *walker) mapping(prefix string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		w.badf(w.section(prefix), w.at(n), "is not a section with keys")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, content := n.Content[i], n.Content[i+1]
		path := prefix + key.Value
		if line, twice := w.seen[path]; twice {
			w.badf(shown(path), w.at(key), fmt.Sprintf("occurs again; it is on line %d already", line))
			continue
		}
		w.seen[path] = key.Line
		if known := slices.IndexFunc(w.table, func(s setting) bool { return s.key == path }); known >= 0 {
			w.entry(w.table[known], content)
			continue
		}
		if slices.ContainsFunc(w.table, func(s setting) bool { return strings.HasPrefix(s.key, path+".") }) {
			w.mapping(path+".", content)
			continue
		}
		w.badf(shown(path), w.at(key), "there is no such key"+w.hint(path))
	}
}

// shown is a key as it is printed: quoted unless it looks like one.
func shown(path string) string {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '"' }
	if path == "" || strings.ContainsFunc(path, odd) || len(path) > maxShown {
		return quoted(path)
	}
	return path
}

func (w *walker) section(prefix string) string {
	if prefix == "" {
		return "the file"
	}
	return strings.TrimSuffix(prefix, ".")
}

// hint names the key that was meant, when only the case or the section differs.
func (w *walker) hint(path string) string {
	last := path[strings.LastIndexByte(path, '.')+1:]
	for _, s := range w.table {
		if strings.EqualFold(s.key, path) || strings.EqualFold(s.key[strings.LastIndexByte(s.key, '.')+1:], last) ||
			slices.Contains(s.env, last) {
			return "; did you mean " + s.key + "?"
		}
	}
	return ""
}

// entry reads one value. An empty text is the same as none, except that it
// replaces a default.
func (w *walker) entry(s setting, n *yaml.Node) {
	v := value{}
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		w.badf(s.key, w.at(n), `has no value; write one, or "" for none`)
		return
	case n.Kind == yaml.ScalarNode:
		v.text = n.Value
	case n.Kind == yaml.SequenceNode:
		v.isList = true
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
				w.badf(s.key, w.at(item), "has an element that is not a text")
				return
			}
			v.list = append(v.list, item.Value)
		}
	case n.Kind == yaml.AliasNode:
		w.badf(s.key, w.at(n), "uses an alias; write the value itself")
		return
	default:
		w.badf(s.key, w.at(n), "is a section; a value is wanted")
		return
	}
	w.set(s, v, w.at(n))
}
