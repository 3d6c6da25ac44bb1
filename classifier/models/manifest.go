package models

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const manifestName = "manifest.json"

// Manifest records what was pulled.
type Manifest struct {
	Name       string         `json:"name"`
	Repository string         `json:"repository"`
	Revision   string         `json:"revision"` // as asked for
	Commit     string         `json:"commit"`   // as the hub resolved it
	PulledAt   time.Time      `json:"pulled_at"`
	Files      []ManifestFile `json:"files"`
}

// ManifestFile is one file with its recorded sum.
type ManifestFile struct {
	Path   string `json:"path"` // with slashes
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Digests returns the sums by path.
func (m Manifest) Digests() map[string]string {
	sums := make(map[string]string, len(m.Files))
	for _, f := range m.Files {
		sums[f.Path] = f.SHA256
	}
	return sums
}

func readManifest(dir string) (Manifest, error) {
	var m Manifest
	data, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("%w: %s: %w; pull the model again", ErrCorrupt, manifestName, err)
	}
	for _, f := range m.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) || len(f.SHA256) != 2*sha256.Size {
			return m, fmt.Errorf("%w: %s: the entry %q; pull the model again", ErrCorrupt, manifestName, f.Path)
		}
	}
	return m, nil
}

func writeManifest(dir string, m Manifest) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, manifestName), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

// verify compares every file of a folder with its manifest and reports all that differ.
func (m Manifest) verify(ctx context.Context, dir string) error {
	var errs []error
	for _, f := range m.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		sum, size, err := sumFile(ctx, filepath.Join(dir, filepath.FromSlash(f.Path)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			errs = append(errs, fmt.Errorf("%s is missing", f.Path))
		case err != nil:
			errs = append(errs, err)
		case !strings.EqualFold(sum, f.SHA256):
			errs = append(errs, fmt.Errorf("%s (%d bytes, recorded %d) has SHA-256 %s instead of %s", f.Path, size, f.Size, sum, f.SHA256))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w; run \"incidentd model pull %s\" again", ErrCorrupt, errors.Join(errs...), m.Name)
}

// sumFile hashes a file; a cancelled context ends it between blocks.
func sumFile(ctx context.Context, path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, contextReader{ctx, f})
	return hex.EncodeToString(h.Sum(nil)), size, err
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
