package importer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// ErrStopped means that the import was told to stop before the end of the file.
var ErrStopped = errors.New("the import was stopped")

// Run imports the file. When ctx ends it takes no more rows, waits for the requests under way and returns ErrStopped.
// Whatever the error, the summary counts what is done, and the same file can be imported again to go on.
// Errors: ErrFile, ErrLogin, ErrUnreachable, ErrRefused, ErrStopped, or what the disk says.
func Run(ctx context.Context, cfg Config) (Summary, error) {
	if err := cfg.Validate(); err != nil {
		return Summary{}, err
	}
	cfg = cfg.withDefaults()
	f, err := os.Open(cfg.File)
	if err != nil {
		return Summary{}, err
	}
	defer f.Close()
	r := &run{cfg: cfg, file: f}
	if err := r.prepare(ctx); err != nil {
		return Summary{}, stopped(ctx, err)
	}
	defer r.transport.CloseIdleConnections()
	return r.all(ctx)
}

// stopped turns the errors of a context that was ended into ErrStopped.
func stopped(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return ErrStopped
	}
	return err
}

// run is one import.
type run struct {
	cfg       Config
	file      *os.File
	size      int64
	reader    Reader
	transport *http.Transport
	submitter submitter
	rejected  *os.File // nil until the first rejection
	summary   Summary
}

// prepare hashes the file, opens its reader and greets the server.
func (r *run) prepare(ctx context.Context) error {
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is not a regular file, and must be read twice; save it as one first", ErrFile, r.cfg.File)
	}
	r.size = info.Size()
	if r.cfg.Format == "" {
		format, ok := FormatOf(r.cfg.File)
		if !ok {
			return fmt.Errorf("%w: its name ends neither in .jsonl nor in .csv; give its format", ErrFile)
		}
		r.cfg.Format = format
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, contextReader{ctx, r.file}); err != nil {
		return err
	}
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if r.reader, err = NewReader(r.file, r.cfg.Format); err != nil {
		return err
	}
	r.transport = http.DefaultTransport.(*http.Transport).Clone()
	r.transport.MaxIdleConnsPerHost = r.cfg.Parallel
	if r.cfg.Transport == nil {
		r.cfg.Transport = r.transport
	}
	r.cfg.Wait = r.waitUntil(ctx)
	r.submitter.file = hex.EncodeToString(sum.Sum(nil))
	if r.submitter.client, err = newClient(r.cfg); err != nil {
		return err
	}
	return r.submitter.fetchCategories(ctx)
}

// waitUntil makes waiting end when the import is to stop: a request that was never answered is not worth waiting for.
func (r *run) waitUntil(stop context.Context) func(context.Context, time.Duration) error {
	wait := r.cfg.Wait
	return func(ctx context.Context, d time.Duration) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(stop, cancel)()
		return wait(ctx, d)
	}
}

// all reads batches, lets Parallel of them be sent at a time, and settles them in the order of the file.
func (r *run) all(ctx context.Context) (Summary, error) {
	// feed ends the reading, work the requests.
	feed, stop := context.WithCancel(ctx)
	defer stop()
	work, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	defer context.AfterFunc(ctx, func() {
		if wait(work, r.cfg.Grace) == nil {
			abort()
		}
	})()

	queue := make(chan *batch)                 // to the senders
	order := make(chan *batch, r.cfg.Parallel) // to be settled, in order
	var senders sync.WaitGroup
	for range r.cfg.Parallel {
		senders.Go(func() {
			for b := range queue {
				r.submitter.submit(work, b)
			}
		})
	}
	var readErr error
	senders.Go(func() {
		defer close(order)
		defer close(queue)
		readErr = r.read(feed, queue, order)
	})
	err := r.settle(order, func() { stop(); abort() })
	stop()
	senders.Wait()
	err = errors.Join(err, r.closeRejected())
	if err == nil {
		err = readErr
	}
	if err != nil && ctx.Err() != nil {
		err = ErrStopped
	}
	return r.summary, err
}

// read cuts the file into batches until its end, or the context's.
func (r *run) read(ctx context.Context, queue, order chan<- *batch) error {
	for {
		b, err := readBatch(r.reader)
		if err != nil || b == nil {
			return err
		}
		select {
		case queue <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
		// Whoever settles takes all that were queued, so this does not block for good.
		order <- b
	}
}

// settle counts the batches and writes down what was rejected. After the first failure it lets the others end.
func (r *run) settle(order <-chan *batch, fail func()) error {
	var failure error
	for b := range order {
		<-b.done
		if failure == nil {
			failure = r.settleOne(b)
			if failure != nil {
				fail()
			}
		}
	}
	return failure
}

func (r *run) settleOne(b *batch) error {
	if err := r.writeRejected(b.rejected); err != nil {
		return err
	}
	r.summary.Imported += b.imported
	r.summary.Repeated += b.repeated
	r.summary.Rejected += len(b.rejected)
	if b.err != nil {
		return b.err
	}
	r.cfg.Progress(Progress{Bytes: b.end, Size: r.size, Summary: r.summary})
	return nil
}

func (r *run) writeRejected(rows []rejection) error {
	if len(rows) == 0 {
		return nil
	}
	if r.rejected == nil {
		f, err := os.OpenFile(r.cfg.Rejected, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return fmt.Errorf("write the rejected rows: %w", err)
		}
		r.rejected = f
	}
	enc := json.NewEncoder(r.rejected)
	enc.SetEscapeHTML(false)
	for _, row := range rows {
		if err := enc.Encode(row); err != nil {
			return fmt.Errorf("write the rejected rows: %w", err)
		}
	}
	return nil
}

func (r *run) closeRejected() error {
	if r.rejected == nil {
		return nil
	}
	if err := r.rejected.Close(); err != nil {
		return fmt.Errorf("write the rejected rows: %w", err)
	}
	return nil
}

// contextReader ends a long read with its context.
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
