package configs

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Source is where a configuration comes from.
type Source struct {
	// File is a YAML file, empty for none.
	File string
	// Environ is the environment as os.Environ gives it.
	Environ []string
	// Flags are the flags that were given, by name without dashes.
	Flags map[string]string
}

// loader collects values and mistakes.
type loader struct {
	config   Config
	origins  map[string]string // by key
	mistakes Errors
}

// Load reads the configuration: the defaults, the file, the environment and the
// flags, each above the one before. The error is an Errors with every mistake.
func Load(s Source) (Config, error) {
	l := &loader{config: Default(), origins: make(map[string]string)}
	table := settings()
	if s.File != "" {
		l.file(table, s.File)
	}
	l.environment(table, s.Environ)
	l.flags(table, s.Flags)
	l.config.NATS.Topology.MaxBytes = int64(l.config.NATS.MaxBytes)
	// A value that could not be read is reported once, for what it is.
	unread := make(map[string]bool)
	for _, m := range l.mistakes {
		unread[m.Key] = true
	}
	for _, m := range l.config.check(l.source) {
		if !unread[m.Key] {
			l.mistakes = append(l.mistakes, m)
		}
	}
	if len(l.mistakes) > 0 {
		return Config{}, l.mistakes
	}
	return l.config, nil
}

// set assigns a value that came from origin.
func (l *loader) set(s setting, v value, origin string) {
	field := s.field(&l.config)
	l.origins[s.key] = origin
	message := assign(field, v)
	if message == "" {
		return
	}
	l.badf(s.key, origin, message)
}

func (l *loader) badf(key, origin, message string) {
	l.mistakes = append(l.mistakes, Mistake{Key: key, Source: origin, Message: message})
}

// source names where a key's value came from, or else its name in the
// environment.
func (l *loader) source(s setting) string {
	return cmp.Or(l.origins[s.key], s.env[0])
}

// environment reads the variables. An empty one counts as not set, as
// deployment tools pass the ones that they have no value for; but an empty
// secret was meant to be one.
func (l *loader) environment(table []setting, environ []string) {
	variables := make(map[string]string, len(environ))
	for _, entry := range environ {
		if name, v, ok := strings.Cut(entry, "="); ok {
			variables[name] = v
		}
	}
	for _, s := range table {
		var first string
		for _, name := range s.env {
			v, ok := variables[name]
			switch {
			case !ok:
			case v == "" && (name == "SECRET_KEY" || name == "ADMIN_PASSWORD"):
				l.badf(s.key, name, "is set and empty; give it a value or unset it")
			case v == "":
			case first == "":
				first = name
				l.set(s, value{text: v}, name)
			case v != variables[first]:
				l.badf(s.key, name, "contradicts "+first+", which means the same; set one of them")
			}
		}
	}
}

func (l *loader) flags(table []setting, flags map[string]string) {
	rest := maps.Clone(flags)
	for _, s := range table {
		v, ok := flags[s.flag]
		if s.flag == "" || !ok {
			continue
		}
		delete(rest, s.flag)
		l.set(s, value{text: v}, "--"+s.flag)
	}
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		l.badf("--"+name, "", "there is no such flag")
	}
}
