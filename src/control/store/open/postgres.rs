//! Opening a database at a server: reaching it, whether it is ours, and the settings that durability rests on.
//!
//! Nobody locks it: several control planes serve from one, and the row of `meta` is what they take turns at.

use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Error, PgConnection};

use super::{OpenError, Opened, READER_WAIT, READERS, Way, migration_fault};
use crate::authz::{Pepper, Timestamp};
use crate::control::store::sql::{self, Conn, Connection, Pool, Purpose};
use crate::control::store::{StoreError, epoch};

/// The schema, as steps from an empty database.
static MIGRATIONS: Migrator = sqlx::migrate!("src/control/migrations/postgres");

/// How long a connection may take to be made.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// How long a connection that did nothing may take to show that there is somebody at its other end. The driver would
/// wait for as long as TCP does.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// How long the schema may take, while another control plane makes it, too.
const MIGRATION_WAIT: Duration = Duration::from_secs(60);
/// What the server is told of every connection: how long a statement waits for a lock, how long it may take, and when
/// the server is to end the transaction of a client that stands still, for another control plane waits for its row.
const SETTINGS: [(&str, &str); 3] = [
    ("lock_timeout", "5s"),
    ("statement_timeout", "30s"),
    ("idle_in_transaction_session_timeout", "10s"),
];
/// The same for whoever reads, and may have to wait for a slow gateway meanwhile.
const READER_IDLE: &str = "10min";
/// Tables of ours, by which a schema is recognised that is somebody else's.
const TABLES: &str = "SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = current_schema() \
     AND tablename IN ('meta', 'keys', 'secrets', 'changes', 'audit')";

/// Opens a database for serving from it. The server has it, perhaps empty.
pub(super) async fn open(
    options: PgConnectOptions,
    pepper: Option<&Pepper>,
    now: Timestamp,
) -> Result<Opened, OpenError> {
    let name = name(&options);
    let options = settled(options);
    let fault = |source| fault(name.clone(), source);
    let mut writer = connect(&options).await.map_err(fault)?;
    check_owner(&mut writer, &name).await?;
    tokio::time::timeout(
        MIGRATION_WAIT,
        MIGRATIONS.run_direct(None, &mut writer, false),
    )
    .await
    .map_err(|_| fault(Error::PoolTimedOut))?
    .map_err(|error| migration_fault(&name, error))?;
    super::identify(&mut Conn::Postgres(&mut writer), pepper, &name).await?;
    recognise(&mut writer, now)
        .await
        .map_err(|source| super::fault(&name, source))?;
    let readers = readers(options.clone()).await.map_err(fault)?;
    Ok(Opened {
        way: Way::Postgres(Box::new(options)),
        writer: Connection::Postgres(Box::new(writer)),
        readers: Pool::Postgres(readers),
        lock: None,
        witness: None,
        name,
    })
}

/// Sees whether the database is where it was left, else gives it another history. A copy of a database, one that was
/// restored, and a former standby say another origin, as far as the user may ask the server; what they lack of the
/// former one, gateways may have met.
pub(super) async fn recognise(
    connection: &mut PgConnection,
    now: Timestamp,
) -> Result<(), StoreError> {
    // The identifier of the cluster, the branch of its history, the database, and the table as it was made here.
    const ORIGIN: &str = "SELECT concat_ws('/', \
         CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE') \
              THEN (SELECT system_identifier FROM pg_control_system()) END, \
         CASE WHEN has_function_privilege('pg_walfile_name(pg_lsn)', 'EXECUTE') \
              THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END, \
         (SELECT oid FROM pg_database WHERE datname = current_database()), \
         'meta'::regclass::oid)";
    let mut conn = Conn::Postgres(connection);
    let mut transaction = conn.reborrow().begin(Purpose::Write).await?;
    let conn = &mut transaction.conn();
    let origin: String = sql::query(ORIGIN).fetch_scalar(conn).await?;
    let row = sql::query("SELECT origin, revision FROM meta FOR UPDATE")
        .fetch_one(conn)
        .await?;
    let (former, revision): (Option<String>, i64) = (row.try_get(0)?, row.try_get(1)?);
    if former.as_ref() == Some(&origin) {
        return Ok(());
    }
    if former.is_some() || revision > 0 {
        epoch::renew(conn, now).await?;
    }
    sql::query("UPDATE meta SET origin = $1")
        .bind(origin)
        .execute(conn)
        .await?;
    transaction.commit().await?;
    Ok(())
}

async fn readers(options: PgConnectOptions) -> Result<PgPool, Error> {
    let options = options.options([("idle_in_transaction_session_timeout", READER_IDLE)]);
    // A connection is tried before it is lent, for the server may have been restarted meanwhile; and when it comes back,
    // for it may have been given up within an answer.
    PgPoolOptions::new()
        // One more: what listens keeps one.
        .max_connections(READERS + 1)
        .acquire_timeout(READER_WAIT)
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(answers(connection)))
        .after_release(|connection, _| Box::pin(answers(connection)))
        .connect_with(options)
        .await
}

/// Whether a server is still there, and soon says so.
pub(in crate::control::store) async fn answers(
    connection: &mut PgConnection,
) -> Result<bool, Error> {
    let answered = tokio::time::timeout(ANSWER_WAIT, connection.ping()).await;
    answered.map_err(|_| Error::PoolTimedOut)?.map(|()| true)
}

/// Opens a database to look at it.
pub(super) async fn look_into(
    options: PgConnectOptions,
    pepper: Option<&Pepper>,
) -> Result<Connection, OpenError> {
    let name = name(&options);
    let options = settled(options).options([("default_transaction_read_only", "on")]);
    let connected = connect(&options).await;
    let mut connection = connected.map_err(|source| fault(name.clone(), source))?;
    if check_owner(&mut connection, &name).await? == 0 {
        return Err(OpenError::Older(name));
    }
    let mut conn = Conn::Postgres(&mut connection);
    super::check_version(&mut conn, &MIGRATIONS, &name).await?;
    if super::has_identity(&mut conn, pepper, &name).await? {
        Ok(Connection::Postgres(Box::new(connection)))
    } else {
        Err(OpenError::Older(name))
    }
}

/// Makes a connection on which a commit is on disk when it returns, also where the server does otherwise.
pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, Error> {
    const COMMITS: &str = "SELECT set_config('synchronous_commit', 'on', false) \
         WHERE current_setting('synchronous_commit') = 'off'";
    let connecting = async {
        let mut connection = options.connect().await?;
        sqlx::query(COMMITS).execute(&mut connection).await?;
        Ok(connection)
    };
    let connected = tokio::time::timeout(CONNECT_WAIT, connecting).await;
    connected.map_err(|_| Error::PoolTimedOut)?
}

/// What a server's database is called, without user and password.
fn name(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_default();
    match options.get_socket() {
        Some(socket) => format!("postgres://{}/{database}", socket.display()),
        None => format!(
            "postgres://{}:{}/{database}",
            options.get_host(),
            options.get_port()
        ),
    }
}

fn settled(options: PgConnectOptions) -> PgConnectOptions {
    options
        .application_name("keyward")
        .options(SETTINGS)
        .disable_statement_logging()
}

/// Refuses a database that has tables of these names but is not ours. Says how many of ours are there.
async fn check_owner(connection: &mut PgConnection, name: &str) -> Result<i64, OpenError> {
    let fault = |source| fault(name.to_owned(), source);
    let tables: i64 = sqlx::query_scalar(TABLES)
        .fetch_one(&mut *connection)
        .await
        .map_err(fault)?;
    let is_migrated: bool =
        sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
            .fetch_one(&mut *connection)
            .await
            .map_err(fault)?;
    let steps: i64 = if is_migrated {
        sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations")
            .fetch_one(connection)
            .await
            .map_err(fault)?
    } else {
        0
    };
    // A step and the tables that it makes are there together, or neither is.
    if (tables == 0) == (steps == 0) {
        Ok(tables)
    } else {
        Err(OpenError::Foreign(name.to_owned()))
    }
}

/// What a refusal of the server, or its silence, means to whoever starts the program.
pub(super) fn fault(database: String, error: Error) -> OpenError {
    /// No write where only reading is allowed.
    const READ_ONLY: &str = "25006";
    /// There is no database of this name.
    const NO_DATABASE: &str = "3D000";
    /// Who the user is, and what it may.
    const NOT_ALLOWED: [&str; 2] = ["28", "42501"];
    let code = error.as_database_error().and_then(|error| error.code());
    let code = code.map(|code| code.into_owned()).unwrap_or_default();
    let is_unreachable = matches!(
        error,
        Error::Io(_) | Error::Tls(_) | Error::PoolTimedOut | Error::Protocol(_)
    );
    if code == READ_ONLY {
        OpenError::Standby(database)
    } else if code == NO_DATABASE || NOT_ALLOWED.iter().any(|class| code.starts_with(class)) {
        OpenError::Refused {
            database,
            source: error,
        }
    } else if is_unreachable {
        OpenError::Unreachable {
            database,
            source: error,
        }
    } else {
        let source = StoreError::Database(error);
        OpenError::Failed { database, source }
    }
}
