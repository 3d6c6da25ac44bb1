package events

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Health returns nil while the broker works: the server says so, the files of
// the stream are where it put them, and the durable consumers exist. A server whose files were removed, or
// whose disk was full, goes on answering some requests while it is dead. Before
// EnsureTopology has made the stream there is none, which is not healthy.
func (e *Embedded) Health() error {
	if err := e.serverHealth(); err != nil {
		return err
	}
	return e.streamHealth()
}

var errNotRunning = errors.New("the embedded broker is not running")

func (e *Embedded) current() *server.Server {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.server
}

// serverHealth asks the server. It answers 503 for a stream that it could not
// recover, and for one whose files it failed to write: that stream takes
// nothing any more, even when the disk has space again.
func (e *Embedded) serverHealth() error {
	s := e.current()
	if s == nil || !s.Running() {
		return errNotRunning
	}
	if status := s.Healthz(&server.HealthzOptions{}); status.StatusCode != http.StatusOK {
		return fmt.Errorf("the embedded broker says %s: %s", status.Status, status.Error)
	}
	return nil
}

// streamFolder is where the server keeps the stream.
func (e *Embedded) streamFolder() string {
	return filepath.Join(e.cfg.StoreDir, server.JetStreamStoreDir, e.accountID, "streams", StreamName)
}

// streamHealth looks whether the server's open files are still those that a
// restart would find, and whether the durable consumers are there.
func (e *Embedded) streamHealth() error {
	if _, err := os.Stat(filepath.Join(e.streamFolder(), server.JetStreamMetaFile)); err != nil {
		return fmt.Errorf("the stream's files are gone: %w", err)
	}
	info, err := os.Stat(filepath.Join(e.streamFolder(), "msgs"))
	if err != nil {
		return fmt.Errorf("the stream's files are gone: %w", err)
	}
	e.mu.Lock()
	if e.stream == nil {
		e.stream = info
	}
	same := os.SameFile(e.stream, info)
	e.mu.Unlock()
	if !same {
		return fmt.Errorf("the stream's files were replaced: %s is another folder now", e.streamFolder())
	}
	for _, name := range []string{ConsumerClassifier, ConsumerUpdater} {
		if err := e.consumerHealth(name); err != nil {
			return err
		}
	}
	return nil
}

func (e *Embedded) consumerHealth(name string) error {
	s := e.current()
	if s == nil {
		return errNotRunning
	}
	status := s.Healthz(&server.HealthzOptions{Account: e.accountID, Stream: StreamName, Consumer: name})
	if status.StatusCode != http.StatusOK {
		return fmt.Errorf("the embedded broker says %s of the consumer %s: %s", status.Status, name, status.Error)
	}
	return nil
}

// damage says what of the files the server could not recover, nil if nothing:
// a stream, or a consumer of which a file is left. A consumer made anew on an
// old stream would not know what was done already.
func (e *Embedded) damage() error {
	if err := e.serverHealth(); err != nil {
		return err
	}
	for _, name := range []string{ConsumerClassifier, ConsumerUpdater} {
		_, err := os.Stat(filepath.Join(e.streamFolder(), "obs", name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err = errors.Join(err, e.consumerHealth(name)); err != nil {
			return err
		}
	}
	return nil
}

// Watch restarts the server when it was unhealthy at two looks in a row, until
// ctx ends; restored is then called to set the topology up again, at every look
// until it succeeds. A failed restart is tried again at a later look. While
// restarts do not help (the disk is still full), they become rarer.
func (e *Embedded) Watch(ctx context.Context, interval time.Duration, restored func(context.Context) error) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var (
		bare  bool // restarted, and its stream not yet set up
		sick  int  // unhealthy looks in a row
		well  int  // healthy ones
		allow = 2  // a restart needs so many unhealthy looks in a row
	)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := e.serverHealth()
		if err == nil && !bare {
			err = e.streamHealth()
		}
		if err == nil {
			sick = 0
			if bare {
				bare = !e.restore(ctx, restored)
			} else if well++; well >= wellAgain {
				allow = 2
			}
			continue
		}
		well = 0
		if sick++; sick < allow {
			continue
		}
		sick, allow = 0, min(2*allow, rarest)
		e.log.Error("the embedded broker is deaf; restarting it", "error", err)
		if err := e.Restart(); errors.Is(err, errClosed) {
			return
		} else if err != nil {
			e.log.Error("the embedded broker did not restart; trying again", "error", err)
			continue
		}
		bare = !e.restore(ctx, restored)
	}
}

const (
	// wellAgain healthy looks in a row end an illness.
	wellAgain = 10
	// rarest is how many unhealthy looks a restart needs at most.
	rarest = 8
)

func (e *Embedded) restore(ctx context.Context, restored func(context.Context) error) bool {
	err := restored(ctx)
	if err != nil && ctx.Err() == nil {
		e.log.Error("the embedded broker restarted, and its stream is not set up yet; trying again", "error", err)
	}
	return err == nil
}
