package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
)

// EmbeddedConfig configures a broker inside this process.
type EmbeddedConfig struct {
	// Listen is host:port for workers and subscribers; port 0 takes a free one.
	// Empty opens no socket: only this process reaches the broker.
	Listen string
	// StoreDir holds the stream's files. It may be lost at any time.
	StoreDir string
	// CredsDir holds the broker's keys and the credentials of each role.
	CredsDir string
	// MaxStore limits the files in bytes. It must be above the stream's limit.
	MaxStore int64
	Logger   *slog.Logger
	Clock    func() time.Time // nil = time.Now
}

// startTimeout bounds one start of the server, recovery of its files included.
const startTimeout = 30 * time.Second

// Embedded is a NATS server with JetStream inside this process. The server
// behind it can be restarted; connections find the new one by themselves.
type Embedded struct {
	cfg        EmbeddedConfig
	log        *slog.Logger
	lock       *flock.Flock
	serverUser user
	accountID  string
	options    server.Options

	running sync.Mutex // held by a start or a stop, one at a time
	closed  bool       // guarded by running

	mu     sync.Mutex // guards the fields below
	server *server.Server
	port   int
	stream os.FileInfo // the stream's folder as first seen by Health, nil before
}

// StartEmbedded starts the broker. It fails, naming the cause, when another
// process uses the store, the address is taken or the keys are damaged. A
// damaged store does not stop it: see setAside.
func StartEmbedded(cfg EmbeddedConfig) (*Embedded, error) {
	e := &Embedded{cfg: cfg, log: cfg.Logger}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.cfg.Clock == nil {
		e.cfg.Clock = time.Now
	}
	if err := e.takeLock(); err != nil {
		return nil, err
	}
	err := e.prepare()
	if err == nil {
		err = e.recoverStore()
	}
	if err != nil {
		return nil, errors.Join(err, e.lock.Unlock())
	}
	return e, nil
}

// takeLock locks a file beside the store, not in it: the store may be removed
// while the broker runs, and the lock must survive that.
func (e *Embedded) takeLock() error {
	if err := os.MkdirAll(filepath.Dir(e.cfg.StoreDir), 0o700); err != nil {
		return fmt.Errorf("make the broker's folder: %w", err)
	}
	e.lock = flock.New(e.cfg.StoreDir+".lock", flock.SetPermissions(0o600))
	ok, err := e.lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock the broker's folder %s: %w", e.cfg.StoreDir, err)
	}
	if !ok {
		return fmt.Errorf("the broker's folder %s is in use by another incidentd; stop that one or choose another folder with INCIDENTD_NATS_DIR", e.cfg.StoreDir)
	}
	return nil
}

func (e *Embedded) prepare() error {
	auth, err := loadAuthority(e.cfg.CredsDir)
	if err != nil {
		return err
	}
	for _, role := range []Role{RoleServer, RoleWorker, RoleSubscriber} {
		u, err := auth.issue(e.cfg.CredsDir, role)
		if err != nil {
			return err
		}
		if role == RoleServer {
			e.serverUser = u
		}
	}
	e.options, e.accountID, err = e.serverOptions(auth)
	return err
}

func (e *Embedded) serverOptions(auth authority) (server.Options, string, error) {
	fail := func(err error) (server.Options, string, error) {
		return server.Options{}, "", fmt.Errorf("prepare the broker's accounts: %w", err)
	}
	operatorID, err := auth.operator.PublicKey()
	if err != nil {
		return fail(err)
	}
	accountID, err := auth.account.PublicKey()
	if err != nil {
		return fail(err)
	}
	systemID, err := auth.system.PublicKey()
	if err != nil {
		return fail(err)
	}
	operator := jwt.NewOperatorClaims(operatorID)
	operator.Name, operator.SystemAccount = "incidentd", systemID
	account := jwt.NewAccountClaims(accountID)
	account.Name = "incidentd"
	account.Limits.JetStreamLimits = jwt.JetStreamLimits{
		DiskStorage: jwt.NoLimit, MemoryStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit,
	}
	system := jwt.NewAccountClaims(systemID)
	system.Name = "SYS"
	resolver := &server.MemAccResolver{}
	for _, claims := range []*jwt.AccountClaims{account, system} {
		token, err := claims.Encode(auth.operator)
		if err != nil {
			return fail(err)
		}
		if err := resolver.Store(claims.Subject, token); err != nil {
			return fail(err)
		}
	}
	o := server.Options{
		ServerName:             "incidentd",
		TrustedOperators:       []*jwt.OperatorClaims{operator},
		AccountResolver:        resolver,
		SystemAccount:          systemID,
		JetStream:              true,
		StoreDir:               e.cfg.StoreDir,
		JetStreamMaxStore:      e.cfg.MaxStore,
		JetStreamMaxMemory:     64 << 20,
		SyncAlways:             true, // an acknowledgement means it is on the disk
		MaxPayload:             MaxEventBytes + 64<<10,
		NoSigs:                 true, // the program handles signals
		DisableJetStreamBanner: true,
		DontListen:             e.cfg.Listen == "",
	}
	if e.cfg.Listen != "" {
		host, port, err := net.SplitHostPort(e.cfg.Listen)
		if err != nil {
			return fail(fmt.Errorf("listen address %q: %w", e.cfg.Listen, err))
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return fail(fmt.Errorf("listen address %q: %w", e.cfg.Listen, err))
		}
		o.Host, o.Port = host, int(number)
		if number == 0 {
			o.Port = server.RANDOM_PORT
		}
	}
	return o, accountID, nil
}

// start starts a server on the store as it is; e.running is held, or nobody
// else knows e yet.
func (e *Embedded) start() error {
	options := e.options.Clone()
	e.mu.Lock()
	if e.port != 0 {
		options.Port = e.port // a restart keeps the address that workers know
	}
	e.mu.Unlock()
	if err := e.checkAddress(options); err != nil {
		return err
	}
	s, err := server.NewServer(options)
	if err != nil {
		return fmt.Errorf("start the embedded broker: %w", err)
	}
	log := &brokerLog{log: e.log}
	s.SetLoggerV2(log, false, false, false)
	s.Start()
	// What the server calls fatal it only logs, and it would never be ready.
	if cause := log.fatal(); cause != "" || !s.ReadyForConnections(startTimeout) {
		s.Shutdown()
		s.WaitForShutdown()
		if cause = cmp.Or(cause, log.fatal()); cause == "" {
			cause = fmt.Sprintf("it was not ready after %s", startTimeout)
		}
		return fmt.Errorf("start the embedded broker: %s", cause)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.server, e.stream = s, nil
	if addr, ok := s.Addr().(*net.TCPAddr); ok {
		e.port = addr.Port
	}
	return nil
}

// checkAddress says which address is taken, which the server only logs.
func (e *Embedded) checkAddress(o *server.Options) error {
	if o.DontListen || o.Port == server.RANDOM_PORT {
		return nil
	}
	address := net.JoinHostPort(o.Host, strconv.Itoa(o.Port))
	var listen net.ListenConfig
	l, err := listen.Listen(context.Background(), "tcp", address)
	if err != nil {
		return fmt.Errorf("the broker cannot listen on %s (%w); free it or set INCIDENTD_NATS_LISTEN", address, err)
	}
	return l.Close()
}

// URL is the address for workers and subscribers, "" without a socket.
func (e *Embedded) URL() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.port == 0 {
		return ""
	}
	return "nats://" + net.JoinHostPort(e.options.Host, strconv.Itoa(e.port))
}

// InProcessConn implements nats.InProcessConnProvider with the current server.
func (e *Embedded) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	s := e.server
	e.mu.Unlock()
	if s == nil {
		return nil, errNotRunning
	}
	return s.InProcessConn()
}

// Restart replaces the server, on the same address and the same files if they
// are still there and whole.
func (e *Embedded) Restart() error {
	e.running.Lock()
	defer e.running.Unlock()
	if e.closed {
		return errClosed
	}
	e.stop()
	return e.recoverStore()
}

var errClosed = errors.New("the embedded broker was shut down")

// stop stops the server, if there is one; e.running is held.
func (e *Embedded) stop() {
	e.mu.Lock()
	s := e.server
	e.server = nil
	e.mu.Unlock()
	if s != nil {
		s.Shutdown()
		s.WaitForShutdown()
	}
}

// Shutdown stops the server and releases the store. It may be called again.
func (e *Embedded) Shutdown() error {
	e.running.Lock()
	defer e.running.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	e.stop()
	return e.lock.Unlock()
}
