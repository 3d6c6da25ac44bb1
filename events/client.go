package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

// ClientConfig says how to reach the broker.
type ClientConfig struct {
	// URL is a comma list of nats:// or tls:// servers; it may carry user and
	// password. It is ignored when InProcess is set.
	URL string
	// Lookup, if set, is asked for the URL at every attempt to connect, the first
	// one included: an embedded broker may listen elsewhere after its restart.
	// An error means that it is where it was.
	Lookup func() (string, error)
	// CredsFile is a NATS credentials file (user JWT and seed), or a file with
	// an nkey seed alone. It is read again at every reconnection.
	CredsFile string
	// InProcess connects to a broker in this process without a socket.
	InProcess *Embedded
	// Name shows up in the broker's list of connections.
	Name   string
	Logger *slog.Logger
}

// Client is one connection to the broker. It reconnects by itself, for ever.
type Client struct {
	conn   *nats.Conn
	js     jetstream.JetStream
	log    *slog.Logger
	stream atomic.Pointer[streamView] // the stream as last seen, nil when unknown

	mu   sync.Mutex      // guards link and cut
	link context.Context // of the present connection, ends when that is lost
	cut  context.CancelFunc
}

// streamView is what a publisher must know about the stream.
type streamView struct {
	id     string
	atomic bool // it takes atomic batches
}

// apiTimeout bounds one question to the broker when the context has no nearer
// deadline.
const apiTimeout = 5 * time.Second

// Connect connects; ctx bounds the first attempt. It returns
// ErrBrokerUnavailable, wrapped, when the broker does not answer or refuses
// the credentials.
func Connect(ctx context.Context, cfg ClientConfig) (*Client, error) {
	c := &Client{log: cfg.Logger}
	c.link, c.cut = context.WithCancel(context.Background())
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	options, err := c.options(ctx, cfg)
	if err != nil {
		return nil, err
	}
	c.conn, err = nats.Connect(cfg.URL, options...)
	if err != nil {
		c.cut()
		return nil, fmt.Errorf("connect to %s: %w: %w", redact(cfg), ErrBrokerUnavailable, err)
	}
	c.js, err = jetstream.New(c.conn, jetstream.WithDefaultTimeout(apiTimeout))
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	return c, nil
}

func (c *Client) options(ctx context.Context, cfg ClientConfig) ([]nats.Option, error) {
	timeout := apiTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, max(time.Until(deadline), time.Millisecond))
	}
	name := cfg.Name
	if name == "" {
		name = "incidentd"
	}
	options := []nats.Option{
		nats.Name(name),
		nats.Timeout(timeout),
		nats.MaxReconnects(-1),
		// Refused credentials may be replaced, or the broker's folder restored.
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 500*time.Millisecond),
		// Requests made while disconnected fail at once instead of piling up:
		// everything that matters is repeated from the database.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(10 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			c.disconnected()
			if err != nil {
				c.log.Warn("broker connection lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { c.log.Info("broker connection restored") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			c.log.Warn("broker reported an error", "error", err)
		}),
	}
	if cfg.InProcess != nil {
		user := cfg.InProcess.serverUser
		return append(options,
			nats.InProcessServer(cfg.InProcess),
			nats.UserJWTAndSeed(user.jwt, user.seed),
			nats.CustomInboxPrefix(inboxPrefix(RoleServer)),
		), nil
	}
	if cfg.Lookup != nil {
		options = append(options, nats.SetCustomDialer(lookupDialer{cfg.Lookup, timeout}))
	}
	if cfg.CredsFile == "" {
		return options, nil
	}
	return c.fileOptions(options, cfg.CredsFile)
}

// lookupDialer connects to where the broker is now.
type lookupDialer struct {
	lookup  func() (string, error)
	timeout time.Duration
}

// Dial implements nats.CustomDialer.
func (d lookupDialer) Dial(network, address string) (net.Conn, error) {
	if found, err := d.lookup(); err == nil {
		if u, err := url.Parse(found); err == nil && u.Host != "" {
			address = u.Host
		}
	}
	return (&net.Dialer{Timeout: d.timeout}).Dial(network, address)
}

// fileOptions authenticates with a credentials or seed file. The credentials
// that this package writes name the role, and with it the inbox prefix that
// the role may listen on; other people's credentials use the default.
func (c *Client) fileOptions(options []nats.Option, file string) ([]nats.Option, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the broker credentials (NATS_CREDS): %w", err)
	}
	if strings.Contains(string(content), "BEGIN NATS USER JWT") {
		if role, ok := roleOf(content); ok {
			options = append(options, nats.CustomInboxPrefix(inboxPrefix(role)))
		}
		return append(options, nats.UserCredentials(file)), nil
	}
	if _, err := nkeys.ParseDecoratedNKey(content); err != nil {
		return nil, fmt.Errorf("broker credentials %s hold neither a user JWT nor an nkey seed", file)
	}
	option, err := nats.NkeyOptionFromSeed(file)
	if err != nil {
		return nil, fmt.Errorf("broker credentials %s: %w", file, err)
	}
	return append(options, option), nil
}

// redact names the broker in errors without the password a URL may hold.
func redact(cfg ClientConfig) string {
	if cfg.InProcess != nil {
		return "the embedded broker"
	}
	urls := strings.Split(cfg.URL, ",")
	for i, u := range urls {
		if scheme, rest, ok := strings.Cut(u, "://"); ok {
			urls[i] = scheme + "://" + rest[strings.LastIndex(rest, "@")+1:]
		} else {
			urls[i] = u[strings.LastIndex(u, "@")+1:]
		}
	}
	return strings.Join(urls, ",")
}

// Connected reports whether the connection is up at this moment.
func (c *Client) Connected() bool { return c.conn.IsConnected() }

// awaitConnection waits until the connection is up, at most for apiTimeout.
func (c *Client) awaitConnection(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	changed := c.conn.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer c.conn.RemoveStatusListener(changed)
	for !c.conn.IsConnected() {
		if c.conn.IsClosed() {
			return fmt.Errorf("%w: %w", ErrBrokerUnavailable, nats.ErrConnectionClosed)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrBrokerUnavailable, ctx.Err())
		}
	}
	return nil
}

// Close sends what is buffered and closes the connection.
func (c *Client) Close() {
	if c.conn.IsConnected() {
		// Settlements are not waited for one by one; here they arrive together.
		if err := c.conn.FlushTimeout(closeTimeout); err != nil {
			c.log.Warn("closing the broker connection; the last settlements may be lost", "error", err)
		}
	}
	c.conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut()
}

// closeTimeout bounds the wait for a broker that does not answer any more.
const closeTimeout = 2 * time.Second

// disconnected wakes those who wait for the broker: it forgot them. What is
// known about the stream is forgotten, too: another one may stand in its place
// after the reconnection.
func (c *Client) disconnected() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut()
	c.link, c.cut = context.WithCancel(context.Background())
	c.stream.Store(nil)
}

// tied returns a context that also ends when the present connection is lost.
func (c *Client) tied(ctx context.Context) (context.Context, context.CancelFunc) {
	c.mu.Lock()
	link := c.link
	c.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(link, cancel)
	return ctx, func() { stop(); cancel() }
}

// call is a context for one question to the broker: tied, and at most apiTimeout.
func (c *Client) call(ctx context.Context) (context.Context, context.CancelFunc) {
	tied, cut := c.tied(ctx)
	tied, cancel := context.WithTimeout(tied, apiTimeout)
	return tied, func() { cancel(); cut() }
}

func (c *Client) setStream(info *jetstream.StreamInfo) {
	c.stream.Store(&streamView{id: streamIdentity(info), atomic: info.Config.AllowAtomicPublish})
}

// classifyError maps what the client library returns to this package's errors,
// by code and type. ctx is the caller's: when that was cancelled, its error
// stays; a cancellation of our own means that the connection was lost.
func classifyError(ctx context.Context, err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil, errors.Is(ctx.Err(), context.Canceled):
		return err
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: %w", ErrBrokerUnavailable, nats.ErrDisconnected)
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrConsumerNotFound),
		errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, jetstream.ErrConsumerDeleted),
		errors.Is(err, jetstream.ErrConsumerDoesNotExist):
		return fmt.Errorf("%w: %w", ErrStreamMissing, err)
	case errors.As(err, &api) && storageFull(api):
		return fmt.Errorf("%w: %w", ErrBrokerFull, err)
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.As(err, &api) && api.ErrorCode == codeMessageTooLarge:
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	default:
		return fmt.Errorf("%w: %w", ErrBrokerUnavailable, err)
	}
}

// Error codes of the server that nats.go does not name
// (nats-server, server/errors.json).
const (
	codeInsufficientResources jetstream.ErrorCode = 10023
	codeStorageExceeded       jetstream.ErrorCode = 10047
	codeMessageTooLarge       jetstream.ErrorCode = 10054
	codeStoreFailed           jetstream.ErrorCode = 10077
)

func storageFull(e *jetstream.APIError) bool {
	switch e.ErrorCode {
	case codeInsufficientResources, codeStorageExceeded, codeStoreFailed:
		return true
	}
	return false
}
