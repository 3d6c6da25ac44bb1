package configs

import (
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/incidentd/incidentd/events"
)

// Config is the whole configuration.
type Config struct {
	// DataDir holds everything the program writes: database, broker, keys.
	DataDir string
	// Offline refuses to fetch anything from the network.
	Offline bool
	// MemoryLimit is the soft limit of the Go heap, 0 for none. The model's
	// memory is outside of it.
	MemoryLimit Size
	// Labels are the categories of the first start; later ones live in the
	// database.
	Labels     []string
	Log        Log
	HTTP       HTTP
	Auth       Auth
	Admin      Admin
	Database   Database
	NATS       NATS
	Classifier Classifier
	Worker     Worker
	Hub        Hub
}

// Log says what is logged and how.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // text or json
}

// HTTP is where and how the API listens.
type HTTP struct {
	// Listen is host:port; port 0 takes a free one.
	Listen string
	// Insecure allows plain HTTP on an address that other machines reach.
	Insecure bool
	// TLSCert and TLSKey are PEM files; both or none.
	TLSCert, TLSKey string
	// MetricsListen is the host:port of a listener for metrics alone; empty
	// means that the API serves them, on a loopback address only.
	MetricsListen  string
	TrustedProxies []string
	CORSOrigins    []string
}

// Auth is how access tokens are signed.
type Auth struct {
	// SecretKey is the HMAC key, byte for byte; empty takes the one in the data
	// folder.
	SecretKey Secret
	Algorithm string // HS256, HS384 or HS512
	// TokenMinutes is how long a token lives.
	TokenMinutes int
}

// Admin is the account of the first start.
type Admin struct {
	Email string
	// Password is empty for a random one.
	Password Secret
}

// Database is where the incidents are.
type Database struct {
	// URL follows SQLAlchemy's rules; empty means incidentd.db in the data folder.
	URL Secret
	// Retention is how long settled bookkeeping rows are kept.
	Retention time.Duration
}

// NATS is the broker: an external one when URL is set, else one in this process.
type NATS struct {
	// URL is a comma list of servers; it may carry user and password.
	URL Secret
	// Creds is a credentials file.
	Creds string
	// Listen is the embedded broker's host:port; port 0 takes a free one.
	Listen string
	// Dir holds the embedded broker's stream; empty means jetstream in the data
	// folder.
	Dir string
	// Topology is what is tunable of the stream and its consumers.
	Topology events.TopologyConfig
	// MaxBytes is Topology.MaxBytes as it is written.
	MaxBytes Size
}

// Classifier is the model and how it runs.
type Classifier struct {
	// Model is a name or a folder.
	Model string
	// ModelsDir holds pulled models; empty means the user's cache folder.
	ModelsDir string
	// Library is the ONNX Runtime library; empty means the user's cache folder.
	Library string
	// Threads is the number of concurrent runs, 0 for all CPUs.
	Threads int
	// Nice lowers the priority of the model's threads, 0 to 19.
	Nice int
	// TokenBudget bounds one run in padded tokens.
	TokenBudget int
	// Cache bounds the results that are remembered; 0 remembers none.
	Cache Size
	// Provider is cpu or cuda.
	Provider string
}

// Worker is how the work goes round.
type Worker struct {
	// Name is shown in results; empty means host name and process id.
	Name string
	// Batch is how many incidents are taken at a time, 1 to 64; 0 follows the
	// measured speed.
	Batch int
	// SweepInterval is how often lost requests are looked for.
	SweepInterval time.Duration
}

// Hub is where models are pulled from.
type Hub struct {
	Endpoint string // empty means the public hub
	Token    Secret
}

// Secret is a value that is never printed.
type Secret string

// String hides the value.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[hidden]"
}

// GoString hides the value from %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// LogValue hides the value from logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the value from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal returns the value for whoever needs it.
func (s Secret) Reveal() string { return string(s) }

// Default is the configuration of a start with nothing set.
func Default() Config {
	topology := events.DefaultTopology()
	return Config{
		DataDir:     "data",
		MemoryLimit: 192 << 20,
		Labels:      []string{"Network Issue", "Server Issue", "Software Issue", "Login Issue", "Others"},
		Log:         Log{Level: "info", Format: "text"},
		HTTP:        HTTP{Listen: "127.0.0.1:8000"},
		Auth:        Auth{Algorithm: "HS256", TokenMinutes: 30},
		Admin:       Admin{Email: "admin@localhost"},
		Database:    Database{Retention: 7 * 24 * time.Hour},
		NATS:        NATS{Listen: "127.0.0.1:4222", Topology: topology, MaxBytes: Size(topology.MaxBytes)},
		Classifier:  Classifier{Model: "default", Nice: 10, TokenBudget: 640, Cache: 16 << 20, Provider: "cpu"},
		Worker:      Worker{SweepInterval: 15 * time.Second},
	}
}

// DatabasePath is the SQLite file.
func (c Config) DatabasePath() string {
	if c.Database.URL == "" {
		return filepath.Join(c.DataDir, "incidentd.db")
	}
	path, _ := parseDatabaseURL(c.Database.URL.Reveal())
	return path
}

// StreamDir is the folder of the embedded broker's stream.
func (c Config) StreamDir() string {
	if c.NATS.Dir != "" {
		return c.NATS.Dir
	}
	return filepath.Join(c.DataDir, "jetstream")
}

// CredsDir is the folder of the embedded broker's keys and credentials.
func (c Config) CredsDir() string { return filepath.Join(c.DataDir, "broker") }

// BrokerURLFile is where serve writes the address of the embedded broker.
func (c Config) BrokerURLFile() string { return filepath.Join(c.DataDir, "nats-url") }

// SecretKeyFile is the signing key that is made when none is set.
func (c Config) SecretKeyFile() string { return filepath.Join(c.DataDir, "secret.key") }

// AdminPasswordFile is where the first password goes when there is no terminal.
func (c Config) AdminPasswordFile() string { return filepath.Join(c.DataDir, "admin-password") }

// TokenTTL is how long a token lives.
func (c Config) TokenTTL() time.Duration { return time.Duration(c.Auth.TokenMinutes) * time.Minute }

// Loopback reports whether only this machine reaches a host:port.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
