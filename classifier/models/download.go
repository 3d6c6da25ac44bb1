package models

import (
	"context"
	"crypto/sha1" //nolint:gosec // git's blob hash; large files and pins use SHA-256
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Progress is told how a pull goes. Its methods are called from several goroutines at once.
type Progress interface {
	// Start announces a file: its size (-1 = unknown) and how much of it is here already.
	Start(file string, size, have int64)
	// Advance says that n more bytes have come; n is negative when a server makes the file start over.
	Advance(file string, n int64)
	// Done ends a file.
	Done(file string, err error)
}

type noProgress struct{}

func (noProgress) Start(string, int64, int64) {}
func (noProgress) Advance(string, int64)      {}
func (noProgress) Done(string, error)         {}

// partSuffix marks a file that is not whole yet.
const partSuffix = ".part"

// download is one file on its way.
type download struct {
	hub        *hub
	repository string
	revision   string
	path       string
	pin        string // SHA-256, or empty
	target     string
	progress   Progress

	started bool
	meta    remoteFile
}

// run fetches the file, taking up what an earlier attempt left, checks it and gives it its name.
func (d *download) run(ctx context.Context) (entry ManifestFile, commit string, err error) {
	defer func() { d.progress.Done(d.path, err) }()
	if err := os.MkdirAll(filepath.Dir(d.target), 0o755); err != nil {
		return entry, "", diskError(err)
	}
	for attempt := 1; ; attempt++ {
		err = d.attempt(ctx)
		if err == nil {
			break
		}
		if !retryable(err) || attempt == d.hub.Attempts {
			return entry, "", fmt.Errorf("%s: %w", d.path, err)
		}
		if err := d.hub.Backoff(ctx, attempt); err != nil {
			return entry, "", err
		}
	}
	entry, err = d.check(ctx)
	return entry, d.meta.commit, err
}

func retryable(err error) bool {
	var status *statusError
	if errors.As(err, &status) {
		return status.temporary()
	}
	return errors.Is(err, ErrNetwork)
}

// errStalled ends a transfer that brings nothing.
var errStalled = errors.New("the transfer stalled")

// attempt makes one request for what is missing and appends it to the partial file.
func (d *download) attempt(ctx context.Context) error {
	if _, err := os.Stat(d.target); err == nil {
		return d.describe(ctx)
	}
	f, err := os.OpenFile(d.target+partSuffix, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return diskError(err)
	}
	defer f.Close()
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return diskError(err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alive := time.AfterFunc(d.hub.StallAfter, func() { cancel(errStalled) })
	defer alive.Stop()

	resp, err := d.request(ctx, have)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusRequestedRangeNotSatisfiable:
		// All of it is here, or the file has changed: the check decides.
		return d.complete(f, have)
	case http.StatusOK:
		// The server ignores ranges: start over.
		if have > 0 {
			if err := errors.Join(f.Truncate(0), seekStart(f)); err != nil {
				return diskError(err)
			}
			if d.started {
				d.progress.Advance(d.path, -have)
			}
			have = 0
		}
	}
	if err := d.hub.statusError(resp, d.repository+" "+d.path); err != nil {
		return err
	}
	d.start(have)
	n, err := io.Copy(&progressWriter{f, d, func() { alive.Reset(d.hub.StallAfter) }}, resp.Body)
	if err != nil {
		return d.copyError(ctx, err)
	}
	return d.complete(f, have+n)
}

func seekStart(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// request asks for the file from an offset and remembers what the first answer says.
func (d *download) request(ctx context.Context, offset int64) (*http.Response, error) {
	resp, meta, err := d.hub.get(ctx, d.hub.fileURL(d.repository, d.revision, d.path), offset)
	if err != nil {
		return nil, err
	}
	if meta.size < 0 && resp.ContentLength >= 0 {
		meta.size = resp.ContentLength
		if resp.StatusCode == http.StatusPartialContent {
			meta.size += offset
		}
	}
	d.meta = meta
	return resp, nil
}

// describe asks for the hub's hash of a file that is here already (an earlier pull was interrupted later).
func (d *download) describe(ctx context.Context) error {
	info, err := os.Stat(d.target)
	if err != nil {
		return diskError(err)
	}
	resp, err := d.request(ctx, 0)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := d.hub.statusError(resp, d.repository+" "+d.path); err != nil {
		return err
	}
	d.start(info.Size())
	return nil
}

func (d *download) start(have int64) {
	if !d.started {
		d.started = true
		d.progress.Start(d.path, d.meta.size, have)
	}
}

// complete gives a whole partial file its name.
func (d *download) complete(f *os.File, have int64) error {
	d.start(have)
	if d.meta.size >= 0 && have < d.meta.size {
		return fmt.Errorf("%w: the connection ended after %d of %d bytes", ErrNetwork, have, d.meta.size)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return diskError(err)
	}
	return diskError(os.Rename(f.Name(), d.target))
}

// copyError tells a full disk from a broken line.
func (d *download) copyError(ctx context.Context, err error) error {
	var write *writeError
	if errors.As(err, &write) {
		return diskError(write.err)
	}
	return networkError(ctx, d.hub.base, err)
}

// check hashes the whole file and compares it with the pin or with the hub's hash. A file that differs is removed,
// so that the next pull starts afresh.
func (d *download) check(ctx context.Context) (ManifestFile, error) {
	entry := ManifestFile{Path: d.path}
	f, err := os.Open(d.target)
	if err != nil {
		return entry, diskError(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return entry, diskError(err)
	}
	entry.Size = info.Size()
	sum := sha256.New()
	blob := sha1.New() //nolint:gosec // see the import
	fmt.Fprintf(blob, "blob %d\x00", entry.Size)
	if _, err := io.Copy(io.MultiWriter(sum, blob), contextReader{ctx, f}); err != nil {
		return entry, err
	}
	entry.SHA256 = hexSum(sum)
	want, got := d.meta.sha256, entry.SHA256
	switch {
	case d.pin != "":
		want = d.pin
	case want == "" && d.meta.blob != "":
		want, got = d.meta.blob, hexSum(blob)
	case want == "":
		return entry, fmt.Errorf("%w: %s: the hub states no hash for it", ErrCorrupt, d.path)
	}
	if want != got {
		return entry, errors.Join(
			fmt.Errorf("%w: %s has the hash %s instead of %s; pull again", ErrCorrupt, d.path, got, want),
			os.Remove(d.target))
	}
	return entry, nil
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// progressWriter writes to the partial file, reports and keeps the stall timer off.
type progressWriter struct {
	f     *os.File
	d     *download
	alive func()
}

func (w *progressWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.alive()
	if n > 0 {
		w.d.progress.Advance(w.d.path, int64(n))
	}
	if err != nil {
		return n, &writeError{err}
	}
	return n, nil
}

type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// diskError names a full disk.
func diskError(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w: %w; free some and pull again, what is here already is kept", ErrNoSpace, err)
	}
	return err
}
