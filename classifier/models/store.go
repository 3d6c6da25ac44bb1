package models

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/incidentd/incidentd/classifier"
)

// Store is the folder that pulled models lie in.
type Store struct {
	dir string
}

// NewStore returns the store in dir; empty = incidentd/models in the user's cache folder. Nothing is created yet.
func NewStore(dir string) (*Store, error) {
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("there is no folder for models: %w; set HOME or XDG_CACHE_HOME", err)
		}
		dir = filepath.Join(cache, "incidentd", "models")
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("the folder for models: %w", err)
	}
	return &Store{dir: absolute}, nil
}

// Dir returns the store's folder.
func (s *Store) Dir() string { return s.dir }

// Entry is one line of the list: a preset, a pulled model, or both.
type Entry struct {
	Name        string
	Repository  string
	Description string
	License     string
	Preset      bool
	Pulled      bool
	Dir         string // where it lies, when pulled
	Commit      string
	Bytes       int64
	Err         error // why a pulled folder cannot be used
}

// List returns the presets, then the other pulled models by name.
func (s *Store) List() ([]Entry, error) {
	var entries []Entry
	for _, p := range presets {
		e := Entry{Name: p.Name, Repository: p.Repository, Description: p.Description, License: p.License, Preset: true}
		entries = append(entries, s.complete(e))
	}
	found, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing the models: %w", err)
	}
	for _, f := range found {
		if _, preset := presetByName(f.Name()); preset || !f.IsDir() || strings.HasPrefix(f.Name(), ".") {
			continue
		}
		if e := s.complete(Entry{Name: f.Name()}); e.Pulled {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// complete adds what the disk says.
func (s *Store) complete(e Entry) Entry {
	dir := filepath.Join(s.dir, e.Name)
	m, err := readManifest(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return e
	}
	e.Pulled, e.Dir, e.Commit, e.Err = true, dir, m.Commit, err
	if e.Repository == "" {
		e.Repository = m.Repository
	}
	for _, f := range m.Files {
		e.Bytes += f.Size
	}
	return e
}

// Source finds a model by name (a preset or a pulled repository) or by folder (anything with a path separator that
// is no repository, or an absolute path). A folder with a manifest is checked against it when it is loaded.
func (s *Store) Source(name string) (classifier.ModelSource, error) {
	if isFolder(name) {
		return folderSource(name)
	}
	folder, err := folderName(name)
	if err != nil {
		return classifier.ModelSource{}, err
	}
	dir := filepath.Join(s.dir, folder)
	m, err := readManifest(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if _, known := presetByName(name); known || strings.Contains(name, "/") {
			return classifier.ModelSource{}, fmt.Errorf("%w: run \"incidentd model pull %s\"", ErrNotPulled, name)
		}
		return classifier.ModelSource{}, unknown(name)
	}
	if err != nil {
		return classifier.ModelSource{}, err
	}
	return classifier.ModelSource{Name: m.Name, Dir: dir, Digests: m.Digests()}, nil
}

func unknown(name string) error {
	known := make([]string, len(presets))
	for i, p := range presets {
		known[i] = p.Name
	}
	return fmt.Errorf("%w %q: known are %s (\"incidentd model list\" shows all), hub repositories as OWNER/NAME, and folders by path", ErrUnknown, name, strings.Join(known, ", "))
}

// folderSource takes a folder that the user named.
func folderSource(name string) (classifier.ModelSource, error) {
	dir, err := filepath.Abs(name)
	if err != nil {
		return classifier.ModelSource{}, fmt.Errorf("the model folder: %w", err)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return classifier.ModelSource{}, fmt.Errorf("%w: there is no folder %s", ErrUnknown, dir)
	}
	source := classifier.ModelSource{Name: filepath.Base(dir), Dir: dir}
	m, err := readManifest(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return source, nil
	}
	if err != nil {
		return classifier.ModelSource{}, err
	}
	source.Name, source.Digests = m.Name, m.Digests()
	return source, nil
}

// Verify hashes every file of a pulled model (or of a folder with a manifest) and reports all that differ.
func (s *Store) Verify(ctx context.Context, name string) error {
	dir := name
	if !isFolder(name) {
		folder, err := folderName(name)
		if err != nil {
			return err
		}
		dir = filepath.Join(s.dir, folder)
	}
	m, err := readManifest(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s has no %s to check against; only pulled models have one", ErrNotPulled, dir, manifestName)
	}
	if err != nil {
		return err
	}
	return m.verify(ctx, dir)
}

// Remove deletes a pulled model.
func (s *Store) Remove(name string) error {
	folder, err := folderName(name)
	if err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(filepath.Join(s.dir, folder)), os.RemoveAll(s.partialDir(folder)))
}

func (s *Store) partialDir(folder string) string { return filepath.Join(s.dir, ".partial", folder) }

// repositoryName is OWNER/NAME with an optional @REVISION.
var repositoryName = regexp.MustCompile(`^[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}(@[\w./-]{1,100})?$`)

var plainName = regexp.MustCompile(`^[A-Za-z0-9][\w.-]{0,200}$`)

// isFolder says that a name can only be a path: absolute, starting with a dot, or an existing folder in the working
// folder that its user spelled with a separator.
func isFolder(name string) bool {
	if filepath.IsAbs(name) || strings.HasPrefix(name, "."+string(filepath.Separator)) || strings.HasPrefix(name, "..") || name == "." {
		return true
	}
	if !strings.ContainsAny(name, `/\`) || strings.Contains(name, "@") {
		return false
	}
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// folderName returns the folder of a model in the store: presets and pulled names as they are, OWNER/NAME as
// OWNER--NAME.
func folderName(name string) (string, error) {
	if repositoryName.MatchString(name) {
		repository, _, _ := strings.Cut(name, "@")
		return strings.Replace(repository, "/", "--", 1), nil
	}
	if !plainName.MatchString(name) || slices.Contains([]string{".", ".."}, name) {
		return "", unknown(name)
	}
	return name, nil
}
