package events_test

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/events/eventstest"
)

// stopped is a broker that is started and stopped by hand, on the same files.
type stopped struct {
	cfg events.EmbeddedConfig
	log *lockedBuffer
}

func newStopped(t *testing.T) *stopped {
	t.Helper()
	dir, log := t.TempDir(), &lockedBuffer{}
	return &stopped{log: log, cfg: events.EmbeddedConfig{
		StoreDir: filepath.Join(dir, "jetstream"), CredsDir: filepath.Join(dir, "broker"), MaxStore: 8 << 30,
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError})),
		Clock:  func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
	}}
}

// run starts the broker, calls use with a client, and stops the broker.
func (s *stopped) run(t *testing.T, use func(*events.Client)) {
	t.Helper()
	b, err := events.StartEmbedded(s.cfg)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	client, err := events.Connect(eventstest.Context(t), events.ClientConfig{InProcess: b})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.EnsureTopology(eventstest.Context(t), events.DefaultTopology()); err != nil {
		t.Fatalf("set up the topology: %v", err)
	}
	use(client)
	client.Close()
	if err := b.Shutdown(); err != nil {
		t.Fatal(err)
	}
}

// file finds the one file of the store whose path ends like this.
func (s *stopped) file(t *testing.T, end string) string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(s.cfg.StoreDir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, filepath.FromSlash(end)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil || len(found) != 1 {
		t.Fatalf("%d files end in %s, error %v", len(found), end, err)
	}
	return found[0]
}

func (s *stopped) asides(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(s.cfg.StoreDir + ".damaged-*")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestDamagedStoreDoesNotStopTheBroker damages one file of a stopped broker.
// Whatever it is, the broker comes up, takes and delivers new events, and its
// positions end where the sweeper can tell what was lost.
func TestDamagedStoreDoesNotStopTheBroker(t *testing.T) {
	t.Parallel()
	damages := map[string]func(string, []byte) error{
		"removed":   func(path string, _ []byte) error { return os.Remove(path) },
		"emptied":   func(path string, _ []byte) error { return os.Truncate(path, 0) },
		"truncated": func(path string, content []byte) error { return os.Truncate(path, int64(len(content)/2)) },
		"garbage": func(path string, content []byte) error {
			return os.WriteFile(path, bytes.Repeat([]byte{0xa5}, len(content)), 0o600)
		},
		"flipped": func(path string, content []byte) error {
			content[len(content)/2] ^= 1
			return os.WriteFile(path, content, 0o600)
		},
	}
	for _, file := range []string{
		"INCIDENTS/meta.inf", "INCIDENTS/meta.sum", "msgs/1.blk", "msgs/index.db",
		"classifier/meta.inf", "classifier/o.dat", "updater/o.dat",
	} {
		for name, damage := range damages {
			t.Run(file+" "+name, func(t *testing.T) {
				t.Parallel()
				s := newStopped(t)
				s.run(t, func(c *events.Client) { publishAndSettle(t, c, "before") })
				path := s.file(t, file)
				content, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := damage(path, content); err != nil {
					t.Fatal(err)
				}
				s.run(t, func(c *events.Client) { publishAndSettle(t, c, "after") })
			})
		}
	}
}

// publishAndSettle publishes some events and settles until the last of them and
// everything before it is passed.
func publishAndSettle(t *testing.T, c *events.Client, prefix string) {
	t.Helper()
	ctx := eventstest.Context(t)
	acks, err := c.Publish(ctx, eventstest.Requests(t, prefix, 20))
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	last := acks[len(acks)-1]
	consumer := c.Consumer(events.ConsumerClassifier)
	for seq := uint64(0); seq < last.Seq; {
		deliveries, err := consumer.Fetch(ctx, 64)
		if err != nil {
			t.Fatalf("fetch: %v", err)
		}
		for _, d := range deliveries {
			if err := d.Done(ctx); err != nil {
				t.Fatal(err)
			}
			seq = d.Seq()
		}
	}
	at, err := c.Position(ctx)
	for err == nil && (at.Classifier.AckFloor < last.Seq || at.Classifier.AckPending > 0) {
		at, err = c.Position(ctx)
	}
	if err != nil {
		t.Fatalf("the position stays at %+v: %v", at, err)
	}
	if at.Stream != last.Stream || at.LastSeq < last.Seq {
		t.Errorf("position %+v after %+v", at, last)
	}
}

func TestDamagedStoreIsKeptOnce(t *testing.T) {
	t.Parallel()
	s := newStopped(t)
	s.run(t, func(c *events.Client) { publishAndSettle(t, c, "before") })
	older := s.cfg.StoreDir + ".damaged-20250101T000000Z"
	if err := os.Mkdir(older, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.file(t, "INCIDENTS/meta.inf"), 0); err != nil {
		t.Fatal(err)
	}
	s.run(t, func(c *events.Client) { publishAndSettle(t, c, "after") })
	want := s.cfg.StoreDir + ".damaged-20260102T030405Z"
	if got := s.asides(t); len(got) != 1 || got[0] != want {
		t.Errorf("kept %v, want %s alone", got, want)
	}
	if _, err := os.Stat(filepath.Join(want, "jetstream")); err != nil {
		t.Errorf("the kept store is empty: %v", err)
	}
	if log := s.log.String(); !strings.Contains(log, "damaged") || !strings.Contains(log, want) {
		t.Errorf("the log does not name it: %s", log)
	}
	s.run(t, func(c *events.Client) { publishAndSettle(t, c, "again") })
}

func TestStoreThatIsAFileIsSetAside(t *testing.T) {
	t.Parallel()
	s := newStopped(t)
	if err := os.WriteFile(s.cfg.StoreDir, []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(t, func(c *events.Client) { publishAndSettle(t, c, "after") })
	if got := s.asides(t); len(got) != 1 {
		t.Errorf("kept %v", got)
	}
}

// TestStoreThatCrashesTheServerIsSetAside plays starts that ended within the
// recovery: one may have been a kill, two in a row are the store's fault.
func TestStoreThatCrashesTheServerIsSetAside(t *testing.T) {
	t.Parallel()
	for marker, asides := range map[string]int{"": 0, "1": 0, "2": 1, "what?": 0} {
		s := newStopped(t)
		s.run(t, func(c *events.Client) { publishAndSettle(t, c, "before") })
		if err := os.WriteFile(s.cfg.StoreDir+".starting", []byte(marker), 0o600); err != nil {
			t.Fatal(err)
		}
		s.run(t, func(c *events.Client) { publishAndSettle(t, c, "after") })
		if got := s.asides(t); len(got) != asides {
			t.Errorf("after the marker %q kept %v, want %d", marker, got, asides)
		}
		if _, err := os.Stat(s.cfg.StoreDir + ".starting"); err == nil {
			t.Error("the marker is still there after a good start")
		}
	}
}

func TestStoreRemovedWhileStopped(t *testing.T) {
	t.Parallel()
	s := newStopped(t)
	var before, after events.Position
	s.run(t, func(c *events.Client) {
		publishAndSettle(t, c, "before")
		before = position(t, c)
	})
	if err := os.RemoveAll(s.cfg.StoreDir); err != nil {
		t.Fatal(err)
	}
	s.run(t, func(c *events.Client) {
		publishAndSettle(t, c, "after")
		after = position(t, c)
	})
	if before.Stream == after.Stream || after.LastSeq != 20 {
		t.Errorf("position %+v after %+v", after, before)
	}
	if got := s.asides(t); len(got) != 0 {
		t.Errorf("nothing was damaged, and %v is kept", got)
	}
}

// TestLostConsumerBeginsAtTheEnd removes a consumer's files alone: the events
// behind it count as passed, not as work to do once more.
func TestLostConsumerBeginsAtTheEnd(t *testing.T) {
	t.Parallel()
	s := newStopped(t)
	s.run(t, func(c *events.Client) { publishAndSettle(t, c, "before") })
	if err := os.RemoveAll(filepath.Dir(s.file(t, "classifier/meta.inf"))); err != nil {
		t.Fatal(err)
	}
	s.run(t, func(c *events.Client) {
		if at := position(t, c); at.Classifier.AckFloor != at.LastSeq || at.Classifier.Pending != 0 || at.LastSeq != 20 {
			t.Errorf("position %+v", at)
		}
		publishAndSettle(t, c, "after")
	})
}

func position(t *testing.T, c *events.Client) events.Position {
	t.Helper()
	at, err := c.Position(eventstest.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// lockedBuffer is a log that the server's goroutines may write to.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
