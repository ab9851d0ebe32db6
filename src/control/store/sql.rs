//! One way to speak to either database: statements, values, rows, connections, transactions.
//!
//! Statements are written once. What the two databases do not have in common is decided by whoever asks for
//! [`Conn::dialect`], and almost nobody does. It knows no table.
//!
//! The driver's own `Any` is not used: it copies every row once more, and can set neither SQLite's pragmas nor how many
//! rows are read ahead.

use std::borrow::Cow;
use std::fmt;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnection, PgPool, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{
    Arguments as _, AssertSqlSafe, Connection as _, Decode, Error, Postgres, Row as _, SqlSafeStr,
    SqlStr, Sqlite, SqliteConnection, SqlitePool, Type,
};

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) enum Dialect {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

/// A connection of one's own.
#[derive(Debug)]
pub(in crate::control) enum Connection {
    /// To a file.
    Sqlite(SqliteConnection),
    /// To a server.
    Postgres(Box<PgConnection>),
}

/// Connections that several share.
#[derive(Debug)]
pub(in crate::control) enum Pool {
    /// To a file.
    Sqlite(SqlitePool),
    /// To a server.
    Postgres(PgPool),
}

/// A connection lent by a [`Pool`].
#[derive(Debug)]
pub(in crate::control) enum Lent {
    /// To a file.
    Sqlite(PoolConnection<Sqlite>),
    /// To a server.
    Postgres(PoolConnection<Postgres>),
}

/// A connection as statements use it, whoever owns it.
#[derive(Debug)]
pub(in crate::control) enum Conn<'c> {
    /// To a file.
    Sqlite(&'c mut SqliteConnection),
    /// To a server.
    Postgres(&'c mut PgConnection),
}

/// A transaction. Dropped without [`commit`](Self::commit), it never was.
pub(in crate::control) enum Transaction<'c> {
    /// In a file.
    Sqlite(sqlx::Transaction<'c, Sqlite>),
    /// In a server.
    Postgres(sqlx::Transaction<'c, Postgres>),
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) enum Purpose {
    /// To read several things of one state.
    Read,
    /// To write. SQLite keeps other writers out from here on.
    Write,
}

/// A row of an answer.
pub(in crate::control) enum Row {
    /// Of a file.
    Sqlite(SqliteRow),
    /// Of a server.
    Postgres(PgRow),
}

/// What a column can be read as.
pub(in crate::control) trait Field<'r>:
    Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>
{
}

impl<'r, T> Field<'r> for T where
    T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>
{
}

/// What a statement is given. An absent one still has a type, which PostgreSQL asks for.
#[derive(Debug, Clone)]
pub(in crate::control) enum Value<'q> {
    /// A number or a moment.
    Integer(Option<i64>),
    /// A text.
    Text(Option<Cow<'q, str>>),
    /// Bytes.
    Bytes(Cow<'q, [u8]>),
}

/// A statement with what it is given.
#[derive(Debug)]
pub(in crate::control) struct Query<'q> {
    text: Text,
    values: Vec<Value<'q>>,
    is_kept: bool,
}

#[derive(Debug)]
enum Text {
    /// As it was written, with `$1`, `$2`, ….
    Fixed(&'static str),
    /// As it was built, with a `?` for each value in their order.
    Built(String),
}

/// A statement with these words. Its values are `$1`, `$2`, … in the order in which they are bound.
pub(in crate::control) fn query<'q>(text: &'static str) -> Query<'q> {
    Query {
        text: Text::Fixed(text),
        values: Vec::new(),
        is_kept: true,
    }
}

impl<'q> Query<'q> {
    /// Gives the next value.
    pub(in crate::control) fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Whether the connection is to keep the statement prepared. It is, unless this says otherwise.
    pub(in crate::control) fn kept(mut self, is_kept: bool) -> Self {
        self.is_kept = is_kept;
        self
    }

    /// Carries it out, and says how many rows it touched.
    pub(in crate::control) async fn execute(self, conn: &mut Conn<'_>) -> Result<u64, Error> {
        match conn {
            Conn::Sqlite(conn) => Ok(self
                .for_sqlite()?
                .execute(&mut **conn)
                .await?
                .rows_affected()),
            Conn::Postgres(conn) => Ok(self
                .for_postgres()?
                .execute(&mut **conn)
                .await?
                .rows_affected()),
        }
    }

    /// All rows of the answer.
    pub(in crate::control) async fn fetch_all(
        self,
        conn: &mut Conn<'_>,
    ) -> Result<Vec<Row>, Error> {
        match conn {
            Conn::Sqlite(conn) => {
                let rows = self.for_sqlite()?.fetch_all(&mut **conn).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Conn::Postgres(conn) => {
                let rows = self.for_postgres()?.fetch_all(&mut **conn).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// The first row of the answer, if it has one.
    pub(in crate::control) async fn fetch_optional(
        self,
        conn: &mut Conn<'_>,
    ) -> Result<Option<Row>, Error> {
        match conn {
            Conn::Sqlite(conn) => {
                let row = self.for_sqlite()?.fetch_optional(&mut **conn).await?;
                Ok(row.map(Row::Sqlite))
            }
            Conn::Postgres(conn) => {
                let row = self.for_postgres()?.fetch_optional(&mut **conn).await?;
                Ok(row.map(Row::Postgres))
            }
        }
    }

    /// The first row of the answer, which has one.
    pub(in crate::control) async fn fetch_one(self, conn: &mut Conn<'_>) -> Result<Row, Error> {
        self.fetch_optional(conn).await?.ok_or(Error::RowNotFound)
    }

    /// The first column of the first row of the answer, which has one.
    pub(in crate::control) async fn fetch_scalar<T>(self, conn: &mut Conn<'_>) -> Result<T, Error>
    where
        T: for<'r> Field<'r>,
    {
        self.fetch_one(conn).await?.try_get(0)
    }

    fn for_sqlite(self) -> Result<sqlx::query::Query<'static, Sqlite, SqliteArguments>, Error> {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(self.values.len(), 0);
        for value in self.values {
            match value {
                Value::Integer(value) => arguments.add(value),
                Value::Text(None) => arguments.add(None::<String>),
                Value::Text(Some(Cow::Owned(value))) => arguments.add(value),
                Value::Text(Some(Cow::Borrowed(value))) => arguments.add(value),
                Value::Bytes(value) => arguments.add(value.into_owned()),
            }
            .map_err(Error::Encode)?;
        }
        let text = match self.text {
            Text::Fixed(text) => text.into_sql_str(),
            Text::Built(text) => AssertSqlSafe(text).into_sql_str(),
        };
        Ok(sqlx::query_with(text, arguments).persistent(self.is_kept))
    }

    fn for_postgres(self) -> Result<sqlx::query::Query<'static, Postgres, PgArguments>, Error> {
        let mut arguments = PgArguments::default();
        for value in self.values {
            match value {
                Value::Integer(value) => arguments.add(value),
                Value::Text(value) => arguments.add(value.map(without_nul)),
                Value::Bytes(value) => arguments.add(value.into_owned()),
            }
            .map_err(Error::Encode)?;
        }
        let text = match self.text {
            Text::Fixed(text) => text.into_sql_str(),
            Text::Built(text) => numbered(&text),
        };
        Ok(sqlx::query_with(text, arguments).persistent(self.is_kept))
    }
}

/// PostgreSQL takes no NUL in a text. Nothing that is stored has one; who looks for one finds nothing.
fn without_nul(text: Cow<'_, str>) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text.into_owned()
    }
}

/// A built text with `$1`, `$2`, … in place of each `?`.
fn numbered(text: &str) -> SqlStr {
    let mut numbered = String::with_capacity(text.len().saturating_mul(2));
    for (number, part) in text.split('?').enumerate() {
        if number > 0 {
            numbered.push('$');
            numbered.push_str(&number.to_string());
        }
        numbered.push_str(part);
    }
    AssertSqlSafe(numbered).into_sql_str()
}

/// A statement that is put together. What it is given never becomes a part of its words.
///
/// SQLite counts values that have no number faster than those that have one: it looks each number up among all before.
#[derive(Debug)]
pub(in crate::control) struct Builder<'q> {
    text: String,
    values: Vec<Value<'q>>,
}

impl<'q> Builder<'q> {
    /// Begins a statement.
    pub(in crate::control) fn new(text: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            values: Vec::new(),
        }
    }

    /// Goes on with these words, which have no value among them.
    pub(in crate::control) fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Goes on with a value.
    pub(in crate::control) fn bind(&mut self, value: impl Into<Value<'q>>) -> &mut Self {
        self.text.push('?');
        self.values.push(value.into());
        self
    }

    /// Goes on with values, separated by commas.
    pub(in crate::control) fn list<V: Into<Value<'q>>>(
        &mut self,
        values: impl IntoIterator<Item = V>,
    ) -> &mut Self {
        for (place, value) in values.into_iter().enumerate() {
            self.text.push_str(if place > 0 { ", ?" } else { "?" });
            self.values.push(value.into());
        }
        self
    }

    /// Goes on with `VALUES` and a row of as many values for each.
    pub(in crate::control) fn rows<const N: usize>(
        &mut self,
        rows: impl IntoIterator<Item = [Value<'q>; N]>,
    ) -> &mut Self {
        self.text.push_str("VALUES ");
        for (place, row) in rows.into_iter().enumerate() {
            self.text.push_str(if place > 0 { ", (" } else { "(" });
            self.list(row);
            self.text.push(')');
        }
        self
    }

    /// The statement.
    pub(in crate::control) fn build(self) -> Query<'q> {
        Query {
            text: Text::Built(self.text),
            values: self.values,
            is_kept: true,
        }
    }
}

impl Row {
    /// A column.
    pub(in crate::control) fn try_get<'r, T: Field<'r>>(
        &'r self,
        index: usize,
    ) -> Result<T, Error> {
        match self {
            Self::Sqlite(row) => row.try_get(index),
            Self::Postgres(row) => row.try_get(index),
        }
    }
}

impl Connection {
    /// To use it.
    pub(in crate::control) fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(own) => Conn::Sqlite(own),
            Self::Postgres(own) => Conn::Postgres(own),
        }
    }

    /// Whether it still leads anywhere. A server may have been restarted since it was used last; a file is there.
    pub(in crate::control) async fn is_alive(&mut self) -> bool {
        match self {
            Self::Sqlite(_) => true,
            Self::Postgres(own) => super::open::answers(own).await.is_ok(),
        }
    }

    /// Says goodbye.
    pub(in crate::control) async fn close(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(own) => own.close().await,
            Self::Postgres(own) => own.close().await,
        }
    }
}

impl Pool {
    /// Lends a connection, as soon as one is free.
    pub(in crate::control) async fn acquire(&self) -> Result<Lent, Error> {
        match self {
            Self::Sqlite(pool) => Ok(Lent::Sqlite(pool.acquire().await?)),
            Self::Postgres(pool) => Ok(Lent::Postgres(pool.acquire().await?)),
        }
    }
}

impl Lent {
    /// To use it.
    pub(in crate::control) fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(lent) => Conn::Sqlite(lent),
            Self::Postgres(lent) => Conn::Postgres(lent),
        }
    }
}

impl<'c> Conn<'c> {
    /// The same for a while.
    pub(in crate::control) fn reborrow(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(conn) => Conn::Sqlite(conn),
            Self::Postgres(conn) => Conn::Postgres(conn),
        }
    }

    /// Which of the two it leads to.
    pub(in crate::control) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Begins a transaction.
    pub(in crate::control) async fn begin(
        self,
        purpose: Purpose,
    ) -> Result<Transaction<'c>, Error> {
        let statement = match (self.dialect(), purpose) {
            (Dialect::Sqlite, Purpose::Read) => "BEGIN",
            (Dialect::Sqlite, Purpose::Write) => "BEGIN IMMEDIATE",
            (Dialect::Postgres, Purpose::Read) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            // Each statement sees what was committed before it: also what the holder of a lock that was waited for left.
            (Dialect::Postgres, Purpose::Write) => "BEGIN ISOLATION LEVEL READ COMMITTED",
        };
        match self {
            Self::Sqlite(conn) => Ok(Transaction::Sqlite(conn.begin_with(statement).await?)),
            Self::Postgres(conn) => Ok(Transaction::Postgres(conn.begin_with(statement).await?)),
        }
    }
}

impl Transaction<'_> {
    /// To use it.
    pub(in crate::control) fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(own) => Conn::Sqlite(own),
            Self::Postgres(own) => Conn::Postgres(own),
        }
    }

    /// Makes it so, on disk.
    pub(in crate::control) async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(own) => own.commit().await,
            Self::Postgres(own) => own.commit().await,
        }
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(Some(value))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Integer(value)
    }
}

impl<'q> From<&'q str> for Value<'q> {
    fn from(value: &'q str) -> Self {
        Self::Text(Some(Cow::Borrowed(value)))
    }
}

impl<'q> From<Option<&'q str>> for Value<'q> {
    fn from(value: Option<&'q str>) -> Self {
        Self::Text(value.map(Cow::Borrowed))
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Self::Text(Some(Cow::Owned(value)))
    }
}

impl From<Option<String>> for Value<'_> {
    fn from(value: Option<String>) -> Self {
        Self::Text(value.map(Cow::Owned))
    }
}

impl<'q> From<&'q [u8]> for Value<'q> {
    fn from(value: &'q [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(value))
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transaction(…)")
    }
}
