import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { setTimeout } from 'node:timers/promises'
import { Kysely, SqliteDialect, sql } from 'kysely'
import { McmError, messageOf, StateError } from '../errors.ts'

/**
 * One SQLite file behind Kysely, the built-in `node:sqlite` underneath. Knows how to open, check and
 * bring a schema forward; the tables belong to whoever opens it. Invariant: a write that returned is
 * on the disk (WAL with synchronous=FULL), and a file of a newer mcm is never written.
 */

/** One step of a schema, never changed once released. Plain Kysely schema calls: it runs on PostgreSQL too. */
export interface Migration {
  readonly name: string
  up(database: Kysely<unknown>): Promise<void>
}

const BUSY_MS = 10_000
const POLL_MS = 25
const META = 'mcm_schema'

/**
 * Opens or makes a database and runs the migrations it has not had. `path` may be `:memory:`.
 * @throws StateError MCM_STATE_DAMAGED, MCM_STATE_NEWER, MCM_STATE_LOCKED, MCM_STATE_UNWRITABLE
 */
export async function openDatabase<Tables>(
  path: string,
  migrations: readonly Migration[],
): Promise<Kysely<Tables>> {
  const file = openFile(path)
  const database = new Kysely<Tables>({ dialect: sqliteDialect(file) })
  try {
    await beginAlone(file)
    await migrate(database as unknown as Kysely<unknown>, migrations, path)
    file.exec('COMMIT')
    return database
  } catch (cause) {
    if (file.isOpen) file.close()
    throw stateError(path, cause)
  }
}

/**
 * One opener brings a file forward at a time; the other waits, then finds nothing to do. Waiting
 * gives the event loop back, since SQLite's own waiting would not and the other may be this process.
 */
async function beginAlone(file: DatabaseSync): Promise<void> {
  file.exec('PRAGMA busy_timeout = 0')
  for (let attemptsLeft = BUSY_MS / POLL_MS; ; attemptsLeft--) {
    try {
      file.exec('BEGIN IMMEDIATE')
      file.exec(`PRAGMA busy_timeout = ${BUSY_MS}`)
      return
    } catch (cause) {
      if (!isBusy(cause) || attemptsLeft <= 0) throw cause
      await setTimeout(POLL_MS)
    }
  }
}

/** Runs the migrations a database has not had, in order; `name` is for errors. @throws StateError MCM_STATE_NEWER */
export async function migrate(
  database: Kysely<unknown>,
  migrations: readonly Migration[],
  name: string,
): Promise<void> {
  const version = await schemaVersion(database)
  if (version > migrations.length) throw newer(name, version, migrations.length)
  for (const migration of migrations.slice(version)) await migration.up(database)
  if (version === migrations.length) return
  await sql`delete from ${sql.table(META)}`.execute(database)
  await sql`insert into ${sql.table(META)} (version) values (${migrations.length})`.execute(
    database,
  )
}

async function schemaVersion(database: Kysely<unknown>): Promise<number> {
  await database.schema
    .createTable(META)
    .ifNotExists()
    .addColumn('version', 'integer', (column) => column.notNull())
    .execute()
  const found = await sql<{ version: number }>`select version from ${sql.table(META)}`.execute(
    database,
  )
  return found.rows[0]?.version ?? 0
}

function openFile(path: string): DatabaseSync {
  let file: DatabaseSync | undefined
  try {
    if (path !== ':memory:') makePrivateFile(path)
    file = new DatabaseSync(path, { timeout: BUSY_MS, enableForeignKeyConstraints: true })
    file.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF')
    requireIntact(file)
    return file
  } catch (cause) {
    if (file?.isOpen) file.close()
    throw stateError(path, cause)
  }
}

/** SQLite gives its -wal and -shm files the mode of the file itself. */
function makePrivateFile(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  closeSync(openSync(path, 'a', 0o600))
}

function requireIntact(file: DatabaseSync): void {
  const [row] = file.prepare('PRAGMA quick_check(1)').all()
  const verdict = String(row?.['quick_check'])
  if (verdict !== 'ok') throw Object.assign(new Error(verdict), { errcode: SQLITE_CORRUPT })
}

/** node:sqlite in the shape of better-sqlite3 that Kysely's dialect calls. */
function sqliteDialect(file: DatabaseSync): SqliteDialect {
  return new SqliteDialect({
    database: {
      close: () => file.close(),
      prepare(text) {
        const statement = file.prepare(text)
        return {
          reader: statement.columns().length > 0,
          all: (values) => statement.all(...values.map(sqlValue)),
          run: (values) => statement.run(...values.map(sqlValue)),
          iterate: (values) => statement.iterate(...values.map(sqlValue)),
        }
      },
    },
  })
}

function sqlValue(value: unknown): SQLInputValue {
  if (typeof value === 'boolean') return value ? 1 : 0
  if (value === undefined) return null
  return value as SQLInputValue
}

const SQLITE_BUSY = 5
const SQLITE_LOCKED = 6
const SQLITE_CORRUPT = 11
const SQLITE_NOTADB = 26
/** PERM, READONLY, IOERR, FULL, CANTOPEN. */
const FILE_ERRORS = new Set([3, 8, 10, 13, 14])

/** Primary result codes are the low byte (sqlite.org/rescode.html). */
function primaryCode(cause: unknown): number | undefined {
  const errcode = (cause as { errcode?: number }).errcode
  return errcode === undefined ? undefined : errcode & 0xff
}

function isBusy(cause: unknown): boolean {
  const primary = primaryCode(cause)
  return primary === SQLITE_BUSY || primary === SQLITE_LOCKED
}

function stateError(path: string, cause: unknown): unknown {
  if (cause instanceof McmError) return cause
  const primary = primaryCode(cause)
  const why = messageOf(cause)
  if (primary === SQLITE_CORRUPT || primary === SQLITE_NOTADB) return damaged(path, why, cause)
  if (isBusy(cause)) {
    return new StateError('MCM_STATE_LOCKED', `${path} is in use by another program`, {
      hint: 'stop the other program, or give this one another --data directory',
      cause,
    })
  }
  const isFileError = primary === undefined ? 'syscall' in Object(cause) : FILE_ERRORS.has(primary)
  if (!isFileError) return cause
  return new StateError('MCM_STATE_UNWRITABLE', `${path} cannot be opened: ${why}`, {
    hint: 'check the directory, its owner and the free space',
    cause,
  })
}

function damaged(path: string, why: string, cause: unknown): StateError {
  return new StateError('MCM_STATE_DAMAGED', `${path} is damaged: ${why}`, {
    hint: `restore ${path} from a backup, or move it away and start afresh`,
    cause,
  })
}

function newer(path: string, found: number, known: number): StateError {
  return new StateError(
    'MCM_STATE_NEWER',
    `${path} was written by a newer mcm (schema ${found}, this one knows ${known})`,
    { hint: 'update mcm' },
  )
}
