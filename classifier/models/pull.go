package models

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sync/errgroup"

	"github.com/incidentd/incidentd/classifier/ort"
)

// PullOptions say how to pull.
type PullOptions struct {
	Hub Hub
	// Progress is told how it goes; nil = nobody.
	Progress Progress
	// Parallel is the number of files at a time; 0 = 4.
	Parallel int
	// Now gives the time for the manifest; nil = time.Now.
	Now func() time.Time
}

// Pull fetches a preset, or any repository of the hub as OWNER/NAME or OWNER/NAME@REVISION, and verifies it. What is
// whole already is not fetched again; what was interrupted is taken up. The model appears under its name only when all
// of it is verified. It returns the manifest.
// Errors: ErrUnknown, ErrUnauthorized, ErrNotFound, ErrNetwork, ErrNoSpace, ErrCorrupt, or the context's.
func (s *Store) Pull(ctx context.Context, name string, options PullOptions) (Manifest, error) {
	folder, err := folderName(name)
	if err != nil {
		return Manifest{}, err
	}
	h, err := newHub(options.Hub)
	if err != nil {
		return Manifest{}, err
	}
	if options.Progress == nil {
		options.Progress = noProgress{}
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Parallel == 0 {
		options.Parallel = 4
	}
	p := &pull{store: s, hub: h, options: options, folder: folder, work: s.partialDir(folder)}
	if err := os.MkdirAll(p.work, 0o755); err != nil {
		return Manifest{}, diskError(err)
	}
	unlock, err := p.lock(ctx)
	if err != nil {
		return Manifest{}, err
	}
	defer unlock()
	return p.run(ctx, name)
}

// pull is one model on its way.
type pull struct {
	store   *Store
	hub     *hub
	options PullOptions
	folder  string
	work    string
	preset  Preset

	mu       sync.Mutex
	manifest Manifest
}

// lock keeps two processes from pulling the same model at once.
func (p *pull) lock(ctx context.Context) (func(), error) {
	lock := flock.New(p.work + ".lock")
	if _, err := lock.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		return nil, fmt.Errorf("waiting for another pull of %s: %w", p.folder, err)
	}
	return func() { _ = lock.Unlock() }, nil
}

func (p *pull) run(ctx context.Context, name string) (Manifest, error) {
	if done, err := p.present(ctx); done || err != nil {
		return p.manifest, err
	}
	if err := p.choose(ctx, name); err != nil {
		return Manifest{}, err
	}
	p.manifest = Manifest{
		Name: p.folder, Repository: p.preset.Repository, Revision: p.preset.Revision, PulledAt: p.options.Now().UTC(),
	}
	if err := p.fetch(ctx, p.preset.Files); err != nil {
		return Manifest{}, err
	}
	external, err := p.external()
	if err != nil {
		return Manifest{}, err
	}
	if err := p.fetch(ctx, external); err != nil {
		return Manifest{}, err
	}
	slices.SortFunc(p.manifest.Files, func(a, b ManifestFile) int { return strings.Compare(a.Path, b.Path) })
	if err := writeManifest(p.work, p.manifest); err != nil {
		return Manifest{}, diskError(err)
	}
	return p.manifest, p.place()
}

// present says that the model is here and whole. A damaged one is pulled again.
func (p *pull) present(ctx context.Context) (bool, error) {
	dir := filepath.Join(p.store.dir, p.folder)
	m, err := readManifest(dir)
	if err != nil {
		return false, nil //nolint:nilerr // absent or unreadable: pull
	}
	if err := m.verify(ctx, dir); err != nil {
		return false, ctx.Err()
	}
	p.manifest = m
	return true, nil
}

// choose finds the files: the preset's, or those of the repository that the engine can use.
func (p *pull) choose(ctx context.Context, name string) error {
	if preset, ok := presetByName(name); ok {
		p.preset = preset
		return p.pinCommit(ctx)
	}
	if !repositoryName.MatchString(name) {
		return unknown(name)
	}
	repository, revision, _ := strings.Cut(name, "@")
	if revision == "" {
		revision = "main"
	}
	listed, commit, err := p.hub.list(ctx, repository, revision)
	if err != nil {
		return err
	}
	if commit != "" {
		revision = commit // all files of one commit, even if the branch moves meanwhile
	}
	files, err := chooseFiles(repository, listed)
	if err != nil {
		return err
	}
	p.preset = Preset{Name: p.folder, Repository: repository, Revision: revision, Files: files}
	return nil
}

// pinCommit replaces a preset's branch by the commit that it stands for at the moment.
func (p *pull) pinCommit(ctx context.Context) error {
	if len(p.preset.Revision) == 40 && isHex(p.preset.Revision) {
		return nil
	}
	_, commit, err := p.hub.list(ctx, p.preset.Repository, p.preset.Revision)
	if err == nil && commit != "" {
		p.preset.Revision = commit
	}
	return err
}

// chooseFiles picks the model file in the order in which the engine looks, and the small files beside it or at the
// root.
func chooseFiles(repository string, listed []string) ([]PresetFile, error) {
	modelFile := ""
	for _, candidate := range []string{"model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx"} {
		if slices.Contains(listed, candidate) {
			modelFile = candidate
			break
		}
	}
	if modelFile == "" {
		return nil, fmt.Errorf("%w: %s has no model.onnx; export it to ONNX first", ErrNotFound, repository)
	}
	files := []PresetFile{{Path: modelFile}}
	for _, small := range []string{"config.json", "tokenizer.json", "tokenizer_config.json", "zeroshot.json"} {
		beside := path.Join(path.Dir(modelFile), small)
		switch {
		case slices.Contains(listed, beside):
			files = append(files, PresetFile{Path: beside})
		case slices.Contains(listed, small):
			files = append(files, PresetFile{Path: small})
		case small == "config.json" || small == "tokenizer.json":
			return nil, fmt.Errorf("%w: %s has no %s", ErrNotFound, repository, small)
		}
	}
	return files, nil
}

// fetch downloads files side by side. One that fails stops the others; what has come is kept for the next time.
func (p *pull) fetch(ctx context.Context, files []PresetFile) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.options.Parallel)
	for _, f := range files {
		group.Go(func() error {
			d := &download{
				hub: p.hub, repository: p.preset.Repository, revision: p.preset.Revision, path: f.Path, pin: f.SHA256,
				target: filepath.Join(p.work, filepath.FromSlash(f.Path)), progress: p.options.Progress,
			}
			entry, commit, err := d.run(ctx)
			if err != nil {
				return err
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			p.manifest.Files = append(p.manifest.Files, entry)
			if commit != "" {
				p.manifest.Commit = commit
			}
			return nil
		})
	}
	return group.Wait()
}

// external reads from the model files which further files hold their weights.
func (p *pull) external() ([]PresetFile, error) {
	var files []PresetFile
	for _, f := range p.preset.Files {
		if !strings.HasSuffix(f.Path, ".onnx") {
			continue
		}
		names, err := externalData(filepath.Join(p.work, filepath.FromSlash(f.Path)))
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, f.Path, err)
		}
		for _, name := range names {
			file := PresetFile{Path: path.Join(path.Dir(f.Path), name)}
			if !slices.ContainsFunc(p.preset.Files, func(listed PresetFile) bool { return listed.Path == file.Path }) {
				files = append(files, file)
			}
		}
	}
	return files, nil
}

func externalData(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	model, err := ort.InspectModel(f, info.Size())
	if err != nil {
		return nil, err
	}
	return model.External, nil
}

// place moves the verified folder to its name; an older one steps aside first and is removed after.
func (p *pull) place() error {
	final := filepath.Join(p.store.dir, p.folder)
	old := p.work + ".old"
	if err := os.RemoveAll(old); err != nil {
		return diskError(err)
	}
	if err := os.Rename(final, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return diskError(err)
	}
	if err := os.Rename(p.work, final); err != nil {
		return diskError(err)
	}
	return os.RemoveAll(old)
}
