package ort

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Install puts the library into the cache and returns its path. file is the library itself or an archive
// (.tgz, .tar, .zip) with it anywhere inside; the empty name fetches it. What is installed is recognised by its
// digest, never by its name.
func Install(ctx context.Context, cfg LibraryConfig, file string) (string, error) {
	lib, err := cfg.resolve()
	if err != nil {
		return "", err
	}
	if file == "" {
		cfg.LibraryPath, cfg.Offline = "", false
		return Find(ctx, cfg)
	}
	unlock, err := lib.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	return lib.install(ctx, file)
}

// errNotInside says that an archive was read to its end without finding the library.
var errNotInside = errors.New("the library is not in it")

func (l library) install(ctx context.Context, file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrMissing, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrMissing, err)
	}
	head := make([]byte, 512)
	n, _ := io.ReadFull(f, head)
	head = head[:n]
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("%w: %w", ErrMissing, err)
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		err = l.fromGzip(ctx, f)
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		err = l.fromZip(ctx, f, info.Size())
	case n > 262 && string(head[257:262]) == "ustar":
		err = l.fromTar(ctx, tar.NewReader(f))
	default:
		err = l.store(ctx, f, info.Size())
	}
	if errors.Is(err, errNotInside) {
		return "", fmt.Errorf("%w: %s does not hold the pinned library (release %s for this platform, SHA-256 %s); use the npm package %s", ErrCorrupt, file, Version, l.sha256, npmPackage)
	}
	if err != nil {
		return "", fmt.Errorf("installing the ONNX Runtime library from %s: %w", file, err)
	}
	return l.path(), nil
}

func (l library) fromGzip(ctx context.Context, r io.Reader) error {
	unzipped, err := gzip.NewReader(bufio.NewReader(r))
	if err != nil {
		return err
	}
	defer unzipped.Close()
	return l.fromTar(ctx, tar.NewReader(unzipped))
}

func (l library) fromTar(ctx context.Context, r *tar.Reader) error {
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return errNotInside
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if err := l.store(ctx, r, header.Size); !errors.Is(err, errNotInside) {
			return err
		}
	}
}

func (l library) fromZip(ctx context.Context, r io.ReaderAt, size int64) error {
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return err
	}
	for _, entry := range archive.File {
		if entry.UncompressedSize64 != uint64(l.size) {
			continue
		}
		content, err := entry.Open()
		if err != nil {
			return err
		}
		err = l.store(ctx, content, l.size)
		_ = content.Close()
		if !errors.Is(err, errNotInside) {
			return err
		}
	}
	return errNotInside
}

// store writes a candidate beside its place, checks it and renames it: a reader sees the whole library or none.
func (l library) store(ctx context.Context, r io.Reader, size int64) error {
	if size != l.size {
		return errNotInside
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(l.dir, ".install-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	sum, err := digest(io.TeeReader(io.LimitReader(r, size), tmp))
	if err != nil {
		return err
	}
	if sum != l.sha256 {
		return errNotInside
	}
	if err := errors.Join(tmp.Chmod(0o555), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), filepath.Join(l.dir, l.file))
}
