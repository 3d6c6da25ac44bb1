package events

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// Role is what a connection to the embedded broker may do.
type Role string

// The roles of the embedded broker's users. Each has its own inbox prefix, so
// that none can read another's replies.
const (
	// RoleServer may do everything in the account: API, relay, updater.
	RoleServer Role = "server"
	// RoleWorker may pull from the classifier consumer, publish results and
	// answer questions.
	RoleWorker Role = "worker"
	// RoleSubscriber may read events, and nothing else.
	RoleSubscriber Role = "subscriber"
)

const credsSuffix = ".creds"

// CredsFile is where the embedded broker with this folder of credentials keeps
// those of a role: <dir>/<role>.creds, a NATS credentials file of mode 0600.
func CredsFile(dir string, role Role) string {
	return filepath.Join(dir, string(role)+credsSuffix)
}

func inboxPrefix(role Role) string {
	if role == RoleSubscriber {
		return "_INBOX" // other people's programs use their library's default
	}
	return "_INBOX_" + string(role)
}

// authority is the trust chain of the embedded broker: an operator that signs
// the accounts, one account for incidentd and the system account.
type authority struct {
	operator, account, system nkeys.KeyPair
}

// user is a signed identity of one role.
type user struct{ jwt, seed string }

// loadAuthority reads the seeds in dir, and makes those that are missing.
func loadAuthority(dir string) (authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return authority{}, fmt.Errorf("make the folder of broker credentials: %w", err)
	}
	var a authority
	for _, part := range []struct {
		file   string
		create func() (nkeys.KeyPair, error)
		into   *nkeys.KeyPair
	}{
		{"operator.nk", nkeys.CreateOperator, &a.operator},
		{"account.nk", nkeys.CreateAccount, &a.account},
		{"system.nk", nkeys.CreateAccount, &a.system},
	} {
		pair, err := loadKey(filepath.Join(dir, part.file), part.create)
		if err != nil {
			return authority{}, err
		}
		*part.into = pair
	}
	return a, nil
}

func loadKey(path string, create func() (nkeys.KeyPair, error)) (nkeys.KeyPair, error) {
	seed, err := os.ReadFile(path)
	if err == nil {
		pair, err := nkeys.FromSeed(seed)
		if err != nil {
			return nil, fmt.Errorf("%s is damaged (%w); remove the folder %s to make new broker credentials", path, err, filepath.Dir(path))
		}
		return pair, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read broker credentials: %w", err)
	}
	pair, err := create()
	if err != nil {
		return nil, fmt.Errorf("make broker credentials: %w", err)
	}
	if seed, err = pair.Seed(); err != nil {
		return nil, fmt.Errorf("make broker credentials: %w", err)
	}
	return pair, writeSecret(path, seed)
}

// writeSecret replaces a file of mode 0600 in one step.
func writeSecret(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return fmt.Errorf("write broker credentials: %w", err)
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write broker credentials: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// issue signs a user for the role and writes its credentials file. The key in
// an existing file is kept, so that copies of it stay valid.
func (a authority) issue(dir string, role Role) (user, error) {
	path := CredsFile(dir, role)
	pair, err := userKey(path)
	if err != nil {
		return user{}, err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return user{}, fmt.Errorf("broker user %s: %w", role, err)
	}
	claims := jwt.NewUserClaims(public)
	claims.Name = string(role)
	claims.Permissions = permissions(role)
	token, err := claims.Encode(a.account)
	if err != nil {
		return user{}, fmt.Errorf("sign the broker user %s: %w", role, err)
	}
	seed, err := pair.Seed()
	if err != nil {
		return user{}, fmt.Errorf("broker user %s: %w", role, err)
	}
	content, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		return user{}, fmt.Errorf("format the broker user %s: %w", role, err)
	}
	return user{jwt: token, seed: string(seed)}, writeSecret(path, content)
}

func userKey(path string) (nkeys.KeyPair, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nkeys.CreateUser()
	}
	if err != nil {
		return nil, fmt.Errorf("read broker credentials: %w", err)
	}
	pair, err := jwt.ParseDecoratedUserNKey(content)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged (%w); remove it to make new credentials", path, err)
	}
	return pair, nil
}

// roleOf returns the role in a credentials file that this package wrote.
func roleOf(content []byte) (Role, bool) {
	token, err := jwt.ParseDecoratedJWT(content)
	if err != nil {
		return "", false
	}
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return "", false
	}
	switch role := Role(claims.Name); role {
	case RoleServer, RoleWorker, RoleSubscriber:
		return role, true
	}
	return "", false
}

// permissions is the least each role needs. Nobody but the server may create
// or change the stream and its durable consumers.
func permissions(role Role) jwt.Permissions {
	var p jwt.Permissions
	switch role {
	case RoleServer:
		p.Pub.Allow.Add(">")
		p.Sub.Allow.Add(">")
	case RoleWorker:
		pull := StreamName + "." + ConsumerClassifier
		p.Pub.Allow.Add(
			string(TypeClassified), string(TypeClassificationFailed),
			"$JS.API.INFO", "$JS.API.STREAM.INFO."+StreamName,
			"$JS.API.CONSUMER.INFO.>", // also the updater's position is no secret
			"$JS.API.CONSUMER.MSG.NEXT."+pull, "$JS.ACK."+pull+".>", "$JS.ACK.*.*."+pull+".>",
		)
		p.Sub.Allow.Add(inboxPrefix(role)+".>", classifySubject)
		p.Resp = &jwt.ResponsePermission{MaxMsgs: 1, Expires: time.Minute}
	case RoleSubscriber:
		p.Pub.Allow.Add(
			"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO."+StreamName,
			"$JS.API.CONSUMER.CREATE."+StreamName+".>",
			"$JS.API.CONSUMER.INFO."+StreamName+".>",
			"$JS.API.CONSUMER.MSG.NEXT."+StreamName+".>",
			"$JS.ACK."+StreamName+".>", "$JS.ACK.*.*."+StreamName+".>", "$JS.FC.>",
		)
		// It may not act as one of the durable consumers, which would take work
		// away from the workers.
		for _, durable := range []string{ConsumerClassifier, ConsumerUpdater} {
			own := StreamName + "." + durable
			p.Pub.Deny.Add(
				"$JS.API.CONSUMER.CREATE."+own, "$JS.API.CONSUMER.CREATE."+own+".>",
				"$JS.API.CONSUMER.MSG.NEXT."+own, "$JS.ACK."+own+".>", "$JS.ACK.*.*."+own+".>",
			)
		}
		p.Sub.Allow.Add("_INBOX.>", "incident.>")
	}
	return p
}
