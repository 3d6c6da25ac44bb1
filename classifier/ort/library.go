package ort

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// Version is the release of ONNX Runtime that the program is built and tested against.
const Version = "1.24.3"

// Errors of the library's life; test with errors.Is.
var (
	// ErrMissing: there is no library and it may not or cannot be fetched.
	ErrMissing = errors.New("the ONNX Runtime library is missing")
	// ErrCorrupt: the library's SHA-256 is not the pinned one.
	ErrCorrupt = errors.New("the ONNX Runtime library is not the pinned one")
	// ErrPlatform: no library is pinned for this operating system and processor.
	ErrPlatform = errors.New("no ONNX Runtime library is pinned for this platform")
)

// LibraryConfig says where the shared library comes from.
type LibraryConfig struct {
	// LibraryPath names the library file itself (ONNXRUNTIME_LIB). It is taken as it is: its owner chose it, a
	// build with CUDA for instance, so only its API version is checked. Empty = the cache.
	LibraryPath string
	// CacheDir holds one copy for all projects; empty = incidentd/onnxruntime under os.UserCacheDir.
	CacheDir string
	// Offline refuses to fetch.
	Offline bool
	// Notify, if set, is told one line when a fetch starts.
	Notify func(message string)
}

// platform pins one library file: its place in the npm package and its digest.
type platform struct {
	entry  string
	file   string
	sha256 string
	size   int64
}

// platforms were computed from the tarball of the npm package onnxruntime-node 1.24.3
// (sha512-JH7+czbc8ALA819vlTgcV+Q214/+VjGeBHDjX81+ZCD0PCVCIFGFNtT0V4sXG/1JXypKPgScQcB3ij/hk3YnTg==).
// Both Linux ones are tested; darwin/arm64 and windows/amd64 are pinned only.
var platforms = map[string]platform{
	"linux/amd64": {
		"package/bin/napi-v6/linux/x64/libonnxruntime.so.1", "libonnxruntime.so.1",
		"92ba8e44d31b80a34f5e805076a044122c3be1fffe0d88ed790de7267b0b2682", 35164376,
	},
	"linux/arm64": {
		"package/bin/napi-v6/linux/arm64/libonnxruntime.so.1", "libonnxruntime.so.1",
		"33032cb5b91c12edbf028d7c69fa40a31848d66c0095448758af237d5e0b07db", 18625376,
	},
	"darwin/arm64": {
		"package/bin/napi-v6/darwin/arm64/libonnxruntime.1.24.3.dylib", "libonnxruntime.1.24.3.dylib",
		"76831409ce6eded92b4cb343cf422c458a60c1ea1d5f3cfa69692ab7fcc67f0f", 35937208,
	},
	"windows/amd64": {
		"package/bin/napi-v6/win32/x64/onnxruntime.dll", "onnxruntime.dll",
		"4bc168111012971ae1ffef36c1f29c06b026d17e9063bd17f6390359fbe32a84", 23850016,
	},
}

// library is the resolved place of the pinned file.
type library struct {
	platform
	dir string
}

func (l library) path() string { return filepath.Join(l.dir, l.file) }

func (c LibraryConfig) resolve() (library, error) {
	return c.resolveFor(runtime.GOOS + "/" + runtime.GOARCH)
}

func (c LibraryConfig) resolveFor(name string) (library, error) {
	p, ok := platforms[name]
	if !ok {
		return library{}, fmt.Errorf("%w (%s): build ONNX Runtime %s for it and name the file in ONNXRUNTIME_LIB", ErrPlatform, name, Version)
	}
	root := c.CacheDir
	if root == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return library{}, fmt.Errorf("%w: there is no user cache folder (%w); set ONNXRUNTIME_LIB to the library file", ErrMissing, err)
		}
		root = filepath.Join(cache, "incidentd", "onnxruntime")
	}
	if !filepath.IsAbs(root) {
		return library{}, fmt.Errorf("%w: the cache folder %q is not an absolute path", ErrMissing, root)
	}
	return library{p, filepath.Join(root, Version)}, nil
}

// Find returns the path of a checked library, fetching it first if there is none yet and that is allowed.
// Errors: ErrMissing, ErrCorrupt, ErrPlatform, or the context's.
func Find(ctx context.Context, cfg LibraryConfig) (string, error) {
	if cfg.LibraryPath != "" {
		return named(cfg.LibraryPath)
	}
	lib, err := cfg.resolve()
	if err != nil {
		return "", err
	}
	err = lib.check()
	switch {
	case err == nil:
		return lib.path(), nil
	case !errors.Is(err, ErrMissing):
		return "", err
	case cfg.Offline:
		return "", fmt.Errorf("%w, and fetching is switched off: run \"incidentd runtime install FILE\" with an archive that holds it, or set ONNXRUNTIME_LIB", ErrMissing)
	}
	return lib.fetch(ctx, cfg)
}

// named accepts the file that the user chose. A relative path would depend on the working folder, from which
// nothing is ever loaded.
func named(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%w: ONNXRUNTIME_LIB is %q; give an absolute path", ErrMissing, path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("%w: ONNXRUNTIME_LIB: %w", ErrMissing, err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%w: ONNXRUNTIME_LIB names %s, which is not a file", ErrMissing, path)
	}
	return path, nil
}

// check compares the cached file with its pin.
func (l library) check() error {
	f, err := os.Open(l.path())
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w (%s)", ErrMissing, l.path())
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMissing, err)
	}
	defer f.Close()
	sum, err := digest(f)
	if err != nil {
		return fmt.Errorf("reading %s: %w", l.path(), err)
	}
	if sum != l.sha256 {
		return fmt.Errorf("%w: %s has SHA-256 %s instead of %s; delete it and run \"incidentd runtime install\"", ErrCorrupt, l.path(), sum, l.sha256)
	}
	return nil
}

func digest(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Status describes the library without fetching or loading it.
type Status struct {
	Version string // the pinned release
	Path    string // where it is, or would be
	Source  string // "ONNXRUNTIME_LIB" or "cache"
	Digest  string // SHA-256 of the file, empty when there is none
	Pinned  bool   // the digest is the pinned one
	Err     error  // why it cannot be used; nil = usable
}

// Inspect returns the library's status.
func Inspect(cfg LibraryConfig) Status {
	s := Status{Version: Version, Source: "cache", Path: cfg.LibraryPath}
	lib, platformErr := cfg.resolve()
	if cfg.LibraryPath != "" {
		s.Source = "ONNXRUNTIME_LIB"
		_, s.Err = named(cfg.LibraryPath)
	} else if platformErr != nil {
		s.Err = platformErr
		return s
	} else {
		s.Path = lib.path()
		s.Err = lib.check()
	}
	if f, err := os.Open(s.Path); err == nil {
		defer f.Close()
		s.Digest, _ = digest(f)
		s.Pinned = platformErr == nil && s.Digest == lib.sha256
	}
	return s
}
