package bench

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/incidentd/incidentd/api"
	"github.com/incidentd/incidentd/api/auth"
	"github.com/incidentd/incidentd/store"
	"github.com/incidentd/incidentd/store/bunstore"
)

// Ingest measures durable POST /incidents over loopback with 64 clients: token,
// validation, incident, history, outbox row, search index, group commit. It is
// compared, by turns, with the same rows committed one request at a time, and
// with the bare group-commit writer without HTTP.
func Ingest(ctx context.Context, o Options) error {
	return o.withStore(ctx, func(dir string, s *bunstore.Store) error { return o.ingest(ctx, dir, s) })
}

func (o Options) ingest(ctx context.Context, dir string, grouped *bunstore.Store) (err error) {
	single, err := o.openStore(ctx, dir, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, single.Close()) }()
	server, err := startServer(ctx, o, grouped)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	user, err := account(ctx, single, server.passwordHash)
	if err != nil {
		return err
	}
	return o.compareIngest(ctx, server, grouped, single, user.ID)
}

func (o Options) compareIngest(ctx context.Context, server *server, grouped, single *bunstore.Store, singleUser int64) error {
	sample := newTexts()
	direct := func(s *bunstore.Store, userID int64) func(context.Context, int) error {
		return func(ctx context.Context, _ int) error {
			_, err := s.CreateIncidents(ctx, userID, []store.NewIncident{sample.take()}, nil)
			return err
		}
	}
	posts, err := server.clients(ctx, clients)
	if err != nil {
		return err
	}
	post := func(_ context.Context, worker int) error { return posts[worker].create(sample.take()) }
	var httpRates, bareRates, singleRates, overBare, overSingle []float64
	var took []time.Duration
	for round := range o.Rounds + 1 {
		overHTTP, durations, err := rate(ctx, clients, o.Slice, post)
		if err != nil {
			return err
		}
		bare, _, err := rate(ctx, clients, o.Slice, direct(grouped, server.userID))
		if err != nil {
			return err
		}
		alone, _, err := rate(ctx, clients, o.Slice, direct(single, singleUser))
		if err != nil {
			return err
		}
		if round == 0 {
			continue // warm-up
		}
		httpRates, bareRates, singleRates = append(httpRates, overHTTP), append(bareRates, bare), append(singleRates, alone)
		overBare, overSingle = append(overBare, overHTTP/bare), append(overSingle, overHTTP/alone)
		took = append(took, durations...)
	}
	slices.Sort(took)
	params := map[string]any{"clients": clients, "synchronous": "FULL"}
	o.Emit(Figure{Name: "ingest", Value: median(httpRates), Unit: "1/s", Ratio: median(overSingle), Of: "one commit per request, same rows and index, without HTTP", Params: params})
	o.Emit(Figure{Name: "ingest", Value: median(httpRates), Unit: "1/s", Ratio: median(overBare), Of: "the bare group-commit writer, same rows and index, without HTTP", Params: params})
	o.Emit(Figure{Name: "ingest_p50", Value: quantile(took, 0.50), Unit: "ms", Params: params})
	o.Emit(Figure{Name: "ingest_p99", Value: quantile(took, 0.99), Unit: "ms", Params: params})
	o.Emit(Figure{Name: "ingest_bare", Value: median(bareRates), Unit: "1/s", Params: params})
	o.Emit(Figure{Name: "ingest_single", Value: median(singleRates), Unit: "1/s", Params: params})
	return nil
}

// server is the API over a store, on a free port of the loopback interface.
type server struct {
	http         *http.Server
	address      string
	served       chan error
	userID       int64
	passwordHash string
	token        string
}

func startServer(ctx context.Context, o Options, s *bunstore.Store) (*server, error) {
	hash, err := auth.HashPassword("a password of the benchmark")
	if err != nil {
		return nil, err
	}
	user, err := account(ctx, s, hash)
	if err != nil {
		return nil, err
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	tokens, err := auth.NewTokens("HS256", secret, time.Hour, time.Now)
	if err != nil {
		return nil, err
	}
	token, err := tokens.Issue(user.ID, user.TokenVersion)
	if err != nil {
		return nil, err
	}
	handler, err := api.New(api.Config{Store: s, Secret: secret, TokenTTL: time.Hour, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the benchmark: %w", err)
	}
	out := &server{
		http: api.NewHTTPServer(handler.Handler(), "", o.Logger), address: l.Addr().String(), served: make(chan error, 1),
		userID: user.ID, passwordHash: hash, token: token,
	}
	go func() { out.served <- out.http.Serve(l) }()
	return out, nil
}

func (s *server) close() error {
	err := s.http.Close()
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

func (s *server) clients(ctx context.Context, n int) ([]*client, error) {
	all := make([]*client, n)
	for i := range all {
		c, err := dial(ctx, s.address, s.token)
		if err != nil {
			return nil, err
		}
		all[i] = c
	}
	return all, nil
}

// client is one HTTP connection that costs little itself: server and clients
// share the processors.
type client struct {
	conn net.Conn
	in   *bufio.Reader
	head string
	out  []byte
}

func dial(ctx context.Context, address, token string) (*client, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect to the benchmark's server: %w", err)
	}
	return &client{
		conn: conn, in: bufio.NewReader(conn),
		head: " HTTP/1.1\r\nHost: " + address + "\r\nAuthorization: Bearer " + token + "\r\n",
	}, nil
}

// create posts an incident and waits for its 201.
func (c *client) create(incident store.NewIncident) error {
	body, err := json.Marshal(map[string]string{"title": incident.Title, "description": incident.Description})
	if err != nil {
		return err
	}
	_, err = c.do("POST /incidents", body, http.StatusCreated)
	return err
}

// do sends one request and returns the body of its answer.
func (c *client) do(request string, body []byte, want int) ([]byte, error) {
	c.out = append(append(c.out[:0], request...), c.head...)
	if body != nil {
		c.out = append(c.out, "Content-Type: application/json\r\nContent-Length: "...)
		c.out = strconv.AppendInt(c.out, int64(len(body)), 10)
		c.out = append(c.out, "\r\n"...)
	}
	c.out = append(append(c.out, "\r\n"...), body...)
	if _, err := c.conn.Write(c.out); err != nil {
		return nil, fmt.Errorf("send %s: %w", request, err)
	}
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, fmt.Errorf("answer to %s: %w", request, err)
	}
	answer, err := io.ReadAll(response.Body)
	err = errors.Join(err, response.Body.Close())
	if err == nil && response.StatusCode != want {
		err = fmt.Errorf("%s was answered with %s: %s", request, response.Status, answer)
	}
	return answer, err
}
