package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/store/bunstore"
	"github.com/incidentd/incidentd/worker"
)

// open opens the parts, each of which finds what it needs in those before it.
// The lock on the database comes first, so that a second process touches
// nothing, then the ports, and only then what cannot be taken back: the account
// of the first start and its password.
func (a *App) open(ctx context.Context) error {
	roles := a.options.Roles
	steps := []struct {
		needed bool
		step   func(context.Context) error
	}{
		{roles.database(), a.openStore},
		{roles.has(RoleAPI), a.listen},
		{true, a.openBroker},
		{roles.has(RoleAPI), a.bootstrap},
		{roles.has(RoleWorker), a.startWorker},
		{roles.has(RoleUpdater), a.startPipeline},
		{true, a.followBroker},
		{true, a.serveMetrics},
		{roles.has(RoleAPI), a.serveAPI},
	}
	for _, s := range steps {
		if !s.needed {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) openStore(ctx context.Context) error {
	if err := makeDataDir(a.config); err != nil {
		return err
	}
	c := storeConfig(a.config, a.log)
	c.Exclusive = true
	c.Registerer = a.registry
	c.Fatal = a.fail
	s, err := bunstore.Open(ctx, c)
	if err != nil {
		return err
	}
	a.store = s
	a.lifecycle.onStop("database", func(context.Context) error { return s.Close() })
	return nil
}

// openBroker starts the embedded broker and connects to it, or prepares the
// connection to an external one, which may not be there yet.
func (a *App) openBroker(ctx context.Context) error {
	var topology *events.TopologyConfig
	if a.brokerRole() == events.RoleServer {
		topology = &a.config.NATS.Topology
	}
	if !a.embeds() {
		client, err := brokerClient(a.config, a.brokerRole(), a.log)
		if err != nil {
			return err
		}
		a.link = newLink(a.log, func(ctx context.Context) (*events.Client, error) {
			return events.Connect(ctx, client)
		}, topology)
		a.lifecycle.onStop("broker connection", func(context.Context) error { a.link.close(); return nil })
		return a.forgetBrokerURL()
	}
	if err := a.startEmbedded(); err != nil {
		return err
	}
	a.link = newLink(a.log, func(ctx context.Context) (*events.Client, error) {
		return events.Connect(ctx, events.ClientConfig{InProcess: a.embedded, Name: "incidentd", Logger: a.log})
	}, topology)
	a.lifecycle.onStop("broker connection", func(context.Context) error { a.link.close(); return nil })
	return a.firstContact(ctx)
}

// startEmbedded starts the broker in this process and tells the commands on
// this machine where it is.
func (a *App) startEmbedded() error {
	embedded, err := events.StartEmbedded(events.EmbeddedConfig{
		Listen: a.config.NATS.Listen, StoreDir: a.config.StreamDir(), CredsDir: a.config.CredsDir(),
		// Room for the stream, its consumers and the files of a compaction.
		MaxStore: 2 * int64(a.config.NATS.MaxBytes), Logger: a.log,
	})
	if err != nil {
		return err
	}
	a.embedded = embedded
	a.lifecycle.onStop("embedded broker", func(context.Context) error { return embedded.Shutdown() })
	return writePrivate(a.config.BrokerURLFile(), []byte(a.BrokerURL()+"\n"))
}

// forgetBrokerURL removes the address of an embedded broker of earlier days,
// which would lead commands astray.
func (a *App) forgetBrokerURL() error {
	if !a.options.Roles.has(RoleBroker) {
		return nil
	}
	if err := os.Remove(a.config.BrokerURLFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the old address of the broker: %w", err)
	}
	return nil
}

// firstContact sets the embedded broker up. What goes wrong here (a full disk)
// is the watchdog's to mend; the API takes incidents meanwhile.
func (a *App) firstContact(ctx context.Context) error {
	if err := a.link.dial(ctx); err != nil {
		return err
	}
	if err := a.link.ensureSoon(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.log.Error("the broker cannot be set up yet; incidents are kept and go out later", "error", err)
	}
	return nil
}

// followBroker starts what looks after the broker. It comes after the sweeper,
// which is told when the broker has lost something.
func (a *App) followBroker(context.Context) error {
	if a.check != nil {
		a.link.restored = a.check
	}
	if a.embedded != nil {
		a.background("broker watchdog", func(ctx context.Context) {
			a.embedded.Watch(ctx, lookInterval, func(ctx context.Context) error {
				if err := a.link.ensureSoon(ctx); err != nil {
					return err
				}
				return a.link.restored(ctx)
			})
		})
	}
	a.background("broker connection", a.link.follow)
	return nil
}

// startPipeline starts what moves events and results: updater, relay, sweeper.
func (a *App) startPipeline(context.Context) error {
	updater, err := worker.NewUpdater(worker.UpdaterConfig{
		Results: a.store, Consumer: a.link.consumer(events.ConsumerUpdater),
		Logger: a.log, Registerer: a.registry,
	})
	if err != nil {
		return err
	}
	relay, err := worker.NewRelay(worker.RelayConfig{
		Outbox: a.store, Broker: a.link, Logger: a.log, Registerer: a.registry,
	})
	if err != nil {
		return err
	}
	sweeper, err := worker.NewSweeper(worker.SweeperConfig{
		Store: a.store, Broker: a.link, Interval: a.config.Worker.SweepInterval,
		Logger: a.log, Registerer: a.registry,
	})
	if err != nil {
		return err
	}
	a.check = sweeper.Check
	a.run("updater", updater.Run)
	a.run("relay", func(ctx, work context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-a.link.cleared:
			return relay.Run(ctx, work)
		}
	})
	a.run("sweeper", sweeper.Run)
	return nil
}

// workerName names this process in its results.
func (a *App) workerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "worker"
	}
	return cmp.Or(a.config.Worker.Name, fmt.Sprintf("%s-%d", host, os.Getpid()))
}
