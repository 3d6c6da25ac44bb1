package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/incidentd/incidentd/api"
	"github.com/incidentd/incidentd/configs"
	"github.com/incidentd/incidentd/store/bunstore"
)

const (
	// drainLimit is how long requests in hand may take when the program stops.
	drainLimit = 10 * time.Second
	// pingAge is how old the answer to a readiness probe may be, and pingLimit
	// how long it may take.
	pingAge, pingLimit = time.Second, 2 * time.Second
)

// listen takes the API's port. Connections wait in it until serveAPI.
func (a *App) listen(ctx context.Context) error {
	l, err := listenOn(ctx, "API", a.config.HTTP.Listen, "INCIDENTD_LISTEN or --listen")
	if err != nil {
		return err
	}
	a.http = l
	a.lifecycle.onStop("API listener", func(context.Context) error { return closeListener(l) })
	return nil
}

func listenOn(ctx context.Context, what, address, change string) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("the %s cannot listen on %s (%w); free it or choose another address with %s", what, address, cause(err), change)
	}
	return l, nil
}

// cause is the system's own word, without the address that is said already.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// closeListener closes what its server may have closed before.
func closeListener(l net.Listener) error {
	if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// serveAPI makes the API and answers requests from now on.
func (a *App) serveAPI(context.Context) error {
	config := api.Config{
		Store: a.store, Classifier: oracle{a.engine, a.link},
		Secret: a.secret, Algorithm: a.config.Auth.Algorithm, TokenTTL: a.config.TokenTTL(),
		TrustedProxies: a.config.HTTP.TrustedProxies, CORSOrigins: a.config.HTTP.CORSOrigins,
		Logger: a.log, Registerer: a.registry,
		Readiness: a.readiness(),
		TLS:       a.config.HTTP.TLSCert != "",
		Version:   a.options.Version,
	}
	if configs.Loopback(a.config.HTTP.Listen) {
		config.Metrics = a.metricsHandler()
	}
	server, err := api.New(config)
	if err != nil {
		return err
	}
	s := api.NewHTTPServer(server.Handler(), "", a.log)
	if config.TLS {
		if err := useCertificate(s, a.config.HTTP); err != nil {
			return err
		}
	}
	a.serve("API", s, a.http)
	return nil
}

func useCertificate(s *http.Server, config configs.HTTP) error {
	pair, err := tls.LoadX509KeyPair(config.TLSCert, config.TLSKey)
	if err != nil {
		return fmt.Errorf("load the certificate (INCIDENTD_TLS_CERT, INCIDENTD_TLS_KEY): %w", err)
	}
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	return nil
}

// serveMetrics opens the listener for metrics alone, if there is to be one.
func (a *App) serveMetrics(ctx context.Context) error {
	address := a.config.HTTP.MetricsListen
	if address == "" {
		return nil
	}
	l, err := listenOn(ctx, "metrics listener", address, "INCIDENTD_METRICS_LISTEN or --metrics-listen")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.metricsHandler())
	a.serve("metrics listener", api.NewHTTPServer(mux, "", a.log), l)
	a.log.Info("metrics are served", "address", reachable(l.Addr()))
	return nil
}

func (a *App) metricsHandler() http.Handler {
	return promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{
		// One collector that fails must not hide the others.
		ErrorHandling: promhttp.ContinueOnError,
	})
}

// serve runs an HTTP server on a listener, and lets requests in hand finish
// when the program stops.
func (a *App) serve(name string, s *http.Server, l net.Listener) {
	ended := make(chan struct{})
	go func() {
		var err error
		if s.TLSConfig != nil {
			err = s.ServeTLS(l, "", "")
		} else {
			err = s.Serve(api.Listener(l))
		}
		if !errors.Is(err, http.ErrServerClosed) {
			a.fail(fmt.Errorf("the %s cannot go on: %w", name, err))
		}
		close(ended)
	}()
	a.lifecycle.onStop(name, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, drainLimit)
		defer cancel()
		err := s.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			a.log.Warn("requests are cut off by the stop", "server", name)
			err = s.Close()
		}
		<-ended
		return err
	})
}

// readiness returns the answer to GET /readyz. Probes come often, so the
// database is asked once a second at most.
func (a *App) readiness() func(context.Context) api.Readiness {
	database := &pinger{store: a.store}
	return func(ctx context.Context) api.Readiness {
		return api.Readiness{
			Stopping: a.stopping.Load(),
			Database: database.check(ctx),
			Broker:   a.link.readiness(),
			Model:    a.engine.readiness(),
		}
	}
}

// pinger remembers what the database said.
type pinger struct {
	store *bunstore.Store

	mu    sync.Mutex
	asked time.Time
	last  api.Check
}

func (p *pinger) check(ctx context.Context) api.Check {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.asked.IsZero() && time.Since(p.asked) < pingAge {
		return p.last
	}
	// The answer is for everybody, whoever asked.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingLimit)
	defer cancel()
	p.last = api.Check{OK: true}
	if err := p.store.Ping(ctx); err != nil {
		p.last = api.Check{Detail: "cannot be used"}
	}
	p.asked = time.Now()
	return p.last
}
