package configs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/incidentd/incidentd/api/auth"
	"github.com/incidentd/incidentd/classifier"
)

// Validate reports every mistake at once, as an Errors.
func (c Config) Validate() error {
	if mistakes := c.check(func(s setting) string { return s.env[0] }); len(mistakes) > 0 {
		return mistakes
	}
	return nil
}

// checker collects the mistakes of one configuration.
type checker struct {
	Config
	table    []setting
	source   func(setting) string
	mistakes Errors
}

func (c Config) check(source func(setting) string) Errors {
	k := &checker{Config: c, table: settings(), source: source}
	k.general()
	k.http()
	k.auth()
	k.pipeline()
	k.classifier()
	return k.mistakes
}

// badf records a mistake of the setting with this key.
func (k *checker) badf(key, format string, args ...any) {
	m := Mistake{Key: key, Message: fmt.Sprintf(format, args...)}
	for _, s := range k.table {
		if s.key == key {
			m.Source = k.source(s)
		}
	}
	k.mistakes = append(k.mistakes, m)
}

func (k *checker) oneOf(key, v string, allowed ...string) {
	if !slices.Contains(allowed, v) {
		k.badf(key, "%s is none of %s", quoted(v), strings.Join(allowed, ", "))
	}
}

func (k *checker) general() {
	if strings.TrimSpace(k.DataDir) == "" {
		k.badf("data_dir", "is empty; name a folder")
	} else if info, err := os.Stat(k.DataDir); err == nil && !info.IsDir() {
		k.badf("data_dir", "%s is not a folder", quoted(k.DataDir))
	}
	k.oneOf("log.level", k.Log.Level, "debug", "info", "warn", "error")
	k.oneOf("log.format", k.Log.Format, "text", "json")
	if k.MemoryLimit != 0 && k.MemoryLimit < 32<<20 {
		k.badf("memory_limit", "%s is too little to run in; give at least 32MiB, or 0 for no limit", k.MemoryLimit)
	}
	k.labels()
	if k.Hub.Endpoint != "" {
		if u, err := url.Parse(k.Hub.Endpoint); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			k.badf("hub.endpoint", "%s is not an http or https address", quoted(k.Hub.Endpoint))
		}
	}
}

// The limits of PUT /categories hold here too.
const minLabels, maxLabels, maxLabelRunes = 2, 32, 100

func (k *checker) labels() {
	if n := len(k.Labels); n < minLabels || n > maxLabels {
		k.badf("labels", "has %d categories; %d to %d are possible", n, minLabels, maxLabels)
	}
	seen := make(map[string]bool)
	for _, label := range k.Labels {
		folded := strings.ToLower(label)
		switch {
		case !printable(label) || len([]rune(label)) > maxLabelRunes:
			k.badf("labels", "%s is not a name of 1 to %d printable characters", quoted(label), maxLabelRunes)
		case seen[folded]:
			k.badf("labels", "%s occurs twice", quoted(label))
		}
		seen[folded] = true
	}
}

// printable reports whether a name shows something and has no control characters.
func printable(name string) bool {
	return strings.TrimSpace(name) != "" && strings.ToValidUTF8(name, "") == name &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r >= 0x7f && r <= 0x9f })
}

func (k *checker) http() {
	if k.address("http.listen", k.HTTP.Listen) && k.HTTP.TLSCert == "" && !k.HTTP.Insecure && !Loopback(k.HTTP.Listen) {
		k.badf("http.listen", "%s is reached by other machines and would serve passwords without encryption; set INCIDENTD_TLS_CERT and INCIDENTD_TLS_KEY, or INCIDENTD_INSECURE_HTTP=true behind a proxy that encrypts", quoted(k.HTTP.Listen))
	}
	if k.HTTP.MetricsListen != "" && k.address("http.metrics_listen", k.HTTP.MetricsListen) &&
		k.HTTP.MetricsListen == k.HTTP.Listen && !strings.HasSuffix(k.HTTP.Listen, ":0") {
		k.badf("http.metrics_listen", "is the address of the API; choose another port")
	}
	k.tls()
	for _, proxy := range k.HTTP.TrustedProxies {
		if _, err := netip.ParseAddr(proxy); err == nil {
			continue
		}
		if _, err := netip.ParsePrefix(proxy); err != nil {
			k.badf("http.trusted_proxies", "%s is neither an address nor a network", quoted(proxy))
		}
	}
	for _, origin := range k.HTTP.CORSOrigins {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || origin != strings.ToLower(u.Scheme+"://"+u.Host) {
			k.badf("http.cors_origins", "%s is not of the form https://host or https://host:port, in lower case", quoted(origin))
		}
	}
}

func (k *checker) tls() {
	switch {
	case k.HTTP.TLSCert == "" && k.HTTP.TLSKey == "":
	case k.HTTP.TLSKey == "":
		k.badf("http.tls_key", "is missing beside the certificate")
	case k.HTTP.TLSCert == "":
		k.badf("http.tls_cert", "is missing beside the key")
	default:
		if _, err := tls.LoadX509KeyPair(k.HTTP.TLSCert, k.HTTP.TLSKey); err != nil {
			k.badf("http.tls_cert", "certificate and key cannot be used: %v", err)
		}
	}
}

// address checks a host:port and reports whether it is one.
func (k *checker) address(key, address string) bool {
	host, port, err := net.SplitHostPort(address)
	_, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || strings.ContainsAny(host, " /@") {
		k.badf(key, "%s is not host:port", quoted(address))
		return false
	}
	return true
}

// exampleKey is the one in the FastAPI tutorial, which many have copied.
const exampleKey = "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"

func (k *checker) auth() {
	algorithm := k.Auth.Algorithm
	least, known := auth.Algorithms()[algorithm]
	if !known {
		k.badf("auth.algorithm", "%s is none of HS256, HS384, HS512", quoted(algorithm))
		algorithm = "HS256" // the key must at least do for the one that asks least
		least = auth.Algorithms()[algorithm]
	}
	switch key := k.Auth.SecretKey; {
	case key == "":
	case key == exampleKey:
		k.badf("auth.secret_key", "is the key of a published example; make one of your own")
	case len(key) < least:
		k.badf("auth.secret_key", "has %d bytes; %s needs at least %d", len(key), algorithm, least)
	}
	if k.Auth.TokenMinutes < 1 || k.Auth.TokenMinutes > 60*24*366 {
		k.badf("auth.access_token_expire_minutes", "%d is not between 1 and %d", k.Auth.TokenMinutes, 60*24*366)
	}
	if message := auth.CheckEmail(k.Admin.Email); message != "" {
		k.badf("admin.email", "%s", message)
	}
	if k.Admin.Password != "" {
		if message := auth.CheckPassword(k.Admin.Password.Reveal()); message != "" {
			k.badf("admin.password", "%s", message)
		}
	}
}

func (k *checker) pipeline() {
	if k.Database.URL != "" {
		if _, message := parseDatabaseURL(k.Database.URL.Reveal()); message != "" {
			k.badf("database.url", "%s", message)
		}
	}
	if k.Database.Retention < time.Hour {
		k.badf("database.retention", "%s is too short; at least 1h is needed", k.Database.Retention)
	}
	for _, server := range strings.Split(k.NATS.URL.Reveal(), ",") {
		if k.NATS.URL != "" && !natsURL(server) {
			k.badf("nats.url", "is not a comma list of nats://host:port or tls://host:port")
			break
		}
	}
	if k.NATS.Creds != "" {
		if info, err := os.Stat(k.NATS.Creds); err != nil || !info.Mode().IsRegular() {
			k.badf("nats.creds", "there is no file %s", quoted(k.NATS.Creds))
		}
	}
	k.address("nats.listen", k.NATS.Listen)
	k.topology()
	if k.Worker.Batch < 0 || k.Worker.Batch > 64 {
		k.badf("worker.batch", "%d is not between 1 and 64; 0 follows the measured speed", k.Worker.Batch)
	}
	if k.Worker.SweepInterval < 100*time.Millisecond {
		k.badf("worker.sweep_interval", "%s is too short; at least 100ms is needed", k.Worker.SweepInterval)
	}
}

// topology lets the broker's package judge its own part, a setting at a time so
// that each mistake has its key.
func (k *checker) topology() {
	topology := k.NATS.Topology
	topology.MaxBytes = int64(k.NATS.MaxBytes)
	if topology.Validate() == nil {
		return
	}
	good := Default().NATS.Topology
	one := good
	one.AckWait = topology.AckWait
	k.judge("nats.ack_wait", one.Validate())
	one = good
	one.MaxAge = topology.MaxAge
	k.judge("nats.max_age", one.Validate())
	one = good
	one.MaxBytes = topology.MaxBytes
	k.judge("nats.max_bytes", one.Validate())
	one = good
	one.Replicas = topology.Replicas
	k.judge("nats.replicas", one.Validate())
}

func (k *checker) judge(key string, err error) {
	if err != nil {
		k.badf(key, "%v", err)
	}
}

func natsURL(server string) bool {
	server = strings.TrimSpace(server)
	if !strings.Contains(server, "://") {
		server = "nats://" + server // as the client does
	}
	u, err := url.Parse(server)
	return err == nil && u.Host != "" && slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme)
}

func (k *checker) classifier() {
	if strings.TrimSpace(k.Classifier.Model) == "" {
		k.badf("classifier.model", "is empty; name a model or its folder")
	}
	if k.Classifier.Threads < 0 || k.Classifier.Threads > 1024 {
		k.badf("classifier.threads", "%d is not between 1 and 1024; 0 means all CPUs", k.Classifier.Threads)
	}
	if k.Classifier.Nice < 0 || k.Classifier.Nice > 19 {
		k.badf("classifier.nice", "%d is not between 0 and 19", k.Classifier.Nice)
	}
	k.oneOf("classifier.provider", k.Classifier.Provider, "cpu", "cuda")
	source := classifier.ModelSource{Dir: "any"}
	budget := classifier.Config{Model: source, TokenBudget: k.Classifier.TokenBudget}
	if k.Classifier.Provider == "cuda" {
		budget.ExecutionProvider = "cuda"
	}
	if err := budget.Validate(); err != nil || k.Classifier.TokenBudget == 0 {
		k.badf("classifier.token_budget", "%d is not between 1 and %d", k.Classifier.TokenBudget, classifier.MaxTokenBudget)
	}
}

// parseDatabaseURL returns the file of a database URL in SQLAlchemy's notation,
// or what is wrong with it. The message never repeats the URL, which may hold a
// password.
func parseDatabaseURL(text string) (path, message string) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return "", "is not a URL like sqlite:///incidentd.db"
	}
	dialect, _, _ := strings.Cut(scheme, "+") // the driver is Python's business
	switch strings.ToLower(dialect) {
	case "sqlite":
	case "postgresql", "postgres":
		return "", "PostgreSQL comes with a later version; use sqlite:///… or leave it unset"
	default:
		return "", fmt.Sprintf("the database %s is not supported; use sqlite:///… or leave it unset", quoted(dialect))
	}
	rest, options, _ := strings.Cut(rest, "?")
	if err := checkOptions(options); err != nil {
		return "", err.Error()
	}
	path, ok = strings.CutPrefix(rest, "/")
	switch {
	case rest != "" && !ok:
		return "", "has a host; write sqlite:///relative/file or sqlite:////absolute/file"
	case path == "" || path == ":memory:" || strings.HasPrefix(path, "file:"):
		return "", "must name a file, as incidents have to survive a restart: sqlite:///relative/file or sqlite:////absolute/file"
	}
	return path, ""
}

// checkOptions accepts the options that mean something to Python's driver alone.
func checkOptions(options string) error {
	values, err := url.ParseQuery(options)
	if err != nil {
		return errors.New("its options behind the question mark cannot be read")
	}
	for name := range values {
		if name != "check_same_thread" && name != "timeout" {
			return fmt.Errorf("the option %s is not supported", quoted(name))
		}
	}
	return nil
}
