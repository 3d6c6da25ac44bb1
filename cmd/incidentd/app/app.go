package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/incidentd/incidentd/configs"
	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/store/bunstore"
)

// Role is a set of the program's parts.
type Role uint8

// The parts.
const (
	// RoleBroker runs a broker in this process, unless NATS_URL names another.
	RoleBroker Role = 1 << iota
	// RoleAPI answers HTTP requests.
	RoleAPI
	// RoleUpdater moves events and results between database and broker: relay,
	// updater and sweeper.
	RoleUpdater
	// RoleWorker classifies.
	RoleWorker

	// RoleAll is what serve runs.
	RoleAll = RoleBroker | RoleAPI | RoleUpdater | RoleWorker
)

// has reports whether r contains all of the roles.
func (r Role) has(roles Role) bool { return r&roles == roles }

// database reports whether a part needs the database.
func (r Role) database() bool { return r&(RoleAPI|RoleUpdater) != 0 }

// Options is what an App is made of.
type Options struct {
	Config configs.Config
	Roles  Role
	// Stdout gets the ready line and, if it is a terminal, the first password;
	// Stderr gets where that password is otherwise. nil discards.
	Stdout, Stderr io.Writer
	// Logger gets everything else; nil discards.
	Logger *slog.Logger
	// Version and Commit name the build.
	Version, Commit string
}

// App is the running program.
type App struct {
	options  Options
	config   configs.Config
	log      *slog.Logger
	registry *prometheus.Registry

	lifecycle lifecycle
	stopping  atomic.Bool

	done    chan struct{} // closed when a part failed fatally
	failing sync.Once
	failure error // set before done is closed

	store    *bunstore.Store
	secret   []byte
	embedded *events.Embedded // nil with an external broker
	link     *link
	engine   *engine
	// check looks once for requests that the broker has lost; nil without
	// RoleUpdater.
	check func(context.Context) error
	http  net.Listener // nil without RoleAPI
}

// New checks the options. Nothing is opened yet.
func New(options Options) (*App, error) {
	if options.Roles == 0 {
		return nil, errors.New("app: no role is set")
	}
	if err := options.Config.Validate(); err != nil {
		return nil, err
	}
	if options.Stdout == nil {
		options.Stdout = io.Discard
	}
	if options.Stderr == nil {
		options.Stderr = io.Discard
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	a := &App{
		options: options, config: options.Config, log: options.Logger,
		registry: prometheus.NewRegistry(),
		done:     make(chan struct{}),
	}
	a.lifecycle.log = a.log
	a.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	if !a.embeds() {
		if _, err := brokerClient(a.config, a.brokerRole(), a.log); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// embeds reports whether the broker runs in this process.
func (a *App) embeds() bool {
	return a.options.Roles.has(RoleBroker) && a.config.NATS.URL == ""
}

// brokerRole is what the connection to the broker may do.
func (a *App) brokerRole() events.Role {
	if a.options.Roles == RoleWorker {
		return events.RoleWorker
	}
	return events.RoleServer
}

// Start starts the parts and returns when they take work; the model may still
// be loading. It prints the ready line. When it fails, what was started has
// been stopped again. An App starts once.
func (a *App) Start(ctx context.Context) error {
	err := a.lifecycle.start(ctx, func(ctx context.Context) error {
		if err := a.open(ctx); err != nil {
			return err
		}
		return a.announce()
	})
	if err != nil {
		a.fail(err)
	}
	return err
}

// Stop stops taking work, finishes what is in hand, and closes everything,
// within 30 seconds or until ctx ends. It may be called at any time and any
// number of times; all calls return the same.
func (a *App) Stop(ctx context.Context) error {
	a.stopping.Store(true)
	return a.lifecycle.stop(ctx)
}

// Done is closed when a part failed so that the program cannot go on.
func (a *App) Done() <-chan struct{} { return a.done }

// Err is why Done was closed, nil before.
func (a *App) Err() error {
	select {
	case <-a.done:
		return a.failure
	default:
		return nil
	}
}

// fail records the first fatal failure.
func (a *App) fail(err error) {
	a.failing.Do(func() {
		a.failure = err
		close(a.done)
	})
}

// Addr is the host:port that the API listens on, empty before Start and without
// RoleAPI. A wildcard address is shown as loopback, so that it can be used.
func (a *App) Addr() string {
	if a.http == nil {
		return ""
	}
	return reachable(a.http.Addr())
}

// URL is the API's address as a client writes it.
func (a *App) URL() string {
	if a.config.HTTP.TLSCert != "" {
		return "https://" + a.Addr()
	}
	return "http://" + a.Addr()
}

// BrokerURL is the broker's address without user and password.
func (a *App) BrokerURL() string {
	if a.embedded != nil {
		return reachableURL(a.embedded.URL())
	}
	client, err := brokerClient(a.config, a.brokerRole(), a.log)
	if err != nil {
		return ""
	}
	return withoutPassword(client.URL)
}

// announce prints the ready line.
func (a *App) announce() error {
	line := "incidentd ready"
	if a.http != nil {
		line += " api=" + a.URL()
	}
	line += " nats=" + a.BrokerURL()
	if _, err := fmt.Fprintln(a.options.Stdout, line); err != nil {
		return fmt.Errorf("print the ready line: %w", err)
	}
	return nil
}

// run starts a part that runs until its first context ends, finishes what it
// has in hand then, and gives up when the second ends. A part that ends by
// itself ends the program.
func (a *App) run(name string, part func(ctx, work context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	work, abandon := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := part(ctx, work)
		if ctx.Err() == nil {
			if err == nil {
				err = errors.New("it ended")
			}
			a.fail(fmt.Errorf("the %s cannot go on: %w", name, err))
			err = nil // it is told by Err
		}
		ended <- err
	}()
	a.lifecycle.onStop(name, func(limit context.Context) error {
		defer abandon()
		stop()
		select {
		case err := <-ended:
			return ignoreCanceled(err)
		case <-limit.Done():
			abandon()
			return ignoreCanceled(<-ended)
		}
	})
}

// background starts a helper that ends with its context.
func (a *App) background(name string, f func(context.Context)) {
	a.run(name, func(ctx, _ context.Context) error {
		f(ctx)
		return ctx.Err()
	})
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// after is closed when d has passed or ctx has ended; it reports whether ctx
// goes on.
func after(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
