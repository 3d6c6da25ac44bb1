// Package bench measures the running system: how many incidents per second
// reach the disk, how fast lists are, how fast events and results move, and
// how long an incident waits for its category. Each figure is emitted as soon
// as it is known.
//
// Speeds drift on a shared machine, so a ratio is taken between short slices
// that run by turns, and is the median of the slices' ratios.
package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	samples "github.com/incidentd/incidentd/classifier/bench"
	"github.com/incidentd/incidentd/configs"
	"github.com/incidentd/incidentd/store"
	"github.com/incidentd/incidentd/store/bunstore"
)

// Figure is one measured number; it is printed as one JSON line.
type Figure = samples.Figure

// Options is what every benchmark gets.
type Options struct {
	// Config is the configuration to measure with; its data folder is not
	// touched.
	Config configs.Config
	Logger *slog.Logger
	// Dir is where the databases of the benchmark go: the disk under it is what
	// is measured. Empty means the folder for temporary files.
	Dir string
	// Slice is the duration of one measurement, Rounds how many there are.
	Slice  time.Duration
	Rounds int
	// Emit gets the figures.
	Emit func(Figure)
}

// clients is how many clients ask at the same time.
const clients = 64

// temporary makes a folder for one benchmark and returns how to remove it.
func (o Options) temporary() (dir string, remove func() error, err error) {
	dir, err = os.MkdirTemp(o.Dir, "incidentd-bench-")
	if err != nil {
		return "", nil, fmt.Errorf("make a folder for the benchmark: %w", err)
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}

// openStore opens a new database in which at most group writes share a commit;
// 0 is what the server does.
func (o Options) openStore(ctx context.Context, dir string, group int) (*bunstore.Store, error) {
	labels := make([]store.Category, len(o.Config.Labels))
	for i, name := range o.Config.Labels {
		labels[i].Name = name
	}
	return bunstore.Open(ctx, bunstore.Config{
		Path: filepath.Join(dir, fmt.Sprintf("group-%d.db", group)), Labels: labels, MaxGroup: group, Logger: o.Logger,
	})
}

// withStore opens a new database in a folder of its own for one benchmark.
func (o Options) withStore(ctx context.Context, use func(dir string, s *bunstore.Store) error) (err error) {
	dir, remove, err := o.temporary()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	s, err := o.openStore(ctx, dir, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return use(dir, s)
}

// account adds the user to whom the incidents of a benchmark belong.
func account(ctx context.Context, s store.Users, passwordHash string) (store.User, error) {
	return s.CreateUser(ctx, store.NewUser{Email: "bench@example.org", PasswordHash: passwordHash, Role: store.RoleAdmin})
}

// texts deals out titles and descriptions in many languages, each pair once.
type texts struct {
	all  []string
	next atomic.Int64
}

func newTexts() *texts { return &texts{all: samples.Samples()} }

func (t *texts) take() store.NewIncident {
	n := int(t.next.Add(1))
	text := t.all[n%len(t.all)]
	title := []rune(text)
	return store.NewIncident{
		Title:       string(title[:min(len(title), 60)]),
		Description: fmt.Sprintf("%s (ticket %d)", text, n),
	}
}

// rate runs work on some goroutines for a while and returns how often per
// second it was done and how long each time took.
func rate(ctx context.Context, workers int, d time.Duration, work func(ctx context.Context, worker int) error) (float64, []time.Duration, error) {
	took := make([][]time.Duration, workers)
	errs := make([]error, workers)
	start := time.Now()
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for errs[w] == nil && time.Since(start) < d && ctx.Err() == nil {
				began := time.Now()
				errs[w] = work(ctx, w)
				took[w] = append(took[w], time.Since(began))
			}
		})
	}
	group.Wait()
	elapsed := time.Since(start)
	all := slices.Concat(took...)
	slices.Sort(all)
	return float64(len(all)) / elapsed.Seconds(), all, errors.Join(errors.Join(errs...), ctx.Err())
}

// quantile returns the value at the share q of sorted durations, in
// milliseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Microseconds()) / 1000
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(values))[len(values)/2]
}
