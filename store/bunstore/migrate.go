package bunstore

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/incidentd/incidentd/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks our files (bytes 68 to 71), so that another program's
// database is never migrated over.
const applicationID = 0x696e6364 // "incd"

// migration is one step of the schema. Steps are never changed once released.
type migration struct {
	version int
	name    string
	script  string
}

// loadMigrations reads the steps from files named "0001_what.sql", in order
// and without gaps.
func loadMigrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql") // sorted
	if err != nil {
		return nil, err
	}
	steps := make([]migration, 0, len(names))
	for n, name := range names {
		number, what, _ := strings.Cut(strings.TrimSuffix(path.Base(name), ".sql"), "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != n+1 {
			return nil, fmt.Errorf("migration %s is not number %d", name, n+1)
		}
		script, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		steps = append(steps, migration{version, what, string(script)})
	}
	return steps, nil
}

// migrate brings the schema up to date, each step in a transaction of its own
// that also raises user_version: a step that fails or is killed leaves no trace.
func migrate(ctx context.Context, conn *sql.Conn, steps []migration) error {
	for {
		current, err := schemaVersion(ctx, conn)
		if err != nil {
			return err
		}
		if current > len(steps) {
			return &store.Error{Code: store.CodeUnavailable, Message: fmt.Sprintf(
				"The database has schema %d, this program knows %d. Use a newer program.", current, len(steps))}
		}
		if current == len(steps) {
			return nil
		}
		if err := step(ctx, conn, steps[current]); err != nil {
			return fmt.Errorf("migration %d (%s): %w", steps[current].version, steps[current].name, err)
		}
	}
}

// schemaVersion reads how many steps were made; it fails on another program's
// file.
func schemaVersion(ctx context.Context, conn *sql.Conn) (int, error) {
	var version, id, tables int
	err := conn.QueryRowContext(ctx, `SELECT v.user_version, a.application_id, (SELECT count(*) FROM sqlite_master)
		FROM pragma_user_version v, pragma_application_id a`).Scan(&version, &id, &tables)
	if err != nil {
		return 0, err
	}
	if id != applicationID && (tables > 0 || version > 0) {
		return 0, &store.Error{Code: store.CodeCorrupt, Message: "The file is a database of another program."}
	}
	return version, nil
}

// step makes one step, unless another process has made it meanwhile.
func step(ctx context.Context, conn *sql.Conn, m migration) (err error) {
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		}
	}()
	current, err := schemaVersion(ctx, conn)
	if err != nil {
		return err
	}
	if current == m.version-1 {
		script := fmt.Sprintf("%s; PRAGMA user_version = %d; PRAGMA application_id = %d", m.script, m.version, applicationID)
		if _, err := conn.ExecContext(ctx, script); err != nil {
			return err
		}
	}
	_, err = conn.ExecContext(ctx, "COMMIT")
	return err
}
