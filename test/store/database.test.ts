import { mkdtemp, open, readFile, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { beforeEach, expect, test } from 'vitest'
import { type Migration, openDatabase } from '../../src/store/database.ts'

interface Tables {
  lines: { id: number; text: string; seen: number | null }
  owners: { id: number; line: number }
}

const lines: Migration = {
  name: 'lines',
  up: (database) =>
    database.schema
      .createTable('lines')
      .addColumn('id', 'integer', (column) => column.primaryKey())
      .addColumn('text', 'text', (column) => column.notNull())
      .addColumn('seen', 'integer')
      .execute(),
}
const owners: Migration = {
  name: 'owners',
  up: (database) =>
    database.schema
      .createTable('owners')
      .addColumn('id', 'integer', (column) => column.primaryKey())
      .addColumn('line', 'integer', (column) => column.references('lines.id').notNull())
      .execute(),
}
const broken: Migration = {
  name: 'broken',
  up: async (database) => {
    await database.schema.createTable('half').addColumn('id', 'integer').execute()
    await sql`insert into nowhere values (1)`.execute(database)
  },
}

let path: string

beforeEach(async () => {
  path = join(await mkdtemp(join(tmpdir(), 'mcm-database-')), 'data', 'hub.db')
})

test('rows come back as they were written, after closing and opening again', async () => {
  const first = await openDatabase<Tables>(path, [lines])
  const inserted = await first.insertInto('lines').values({ id: 7, text: 'ü' }).executeTakeFirst()
  expect(inserted.numInsertedOrUpdatedRows).toBe(1n)
  await first.destroy()
  const second = await openDatabase<Tables>(path, [lines])
  expect(await second.selectFrom('lines').selectAll().execute()).toEqual([
    { id: 7, text: 'ü', seen: null },
  ])
  await second.destroy()
})

test('returning, streaming, booleans and blobs pass the adapter', async () => {
  const database = await openDatabase<Tables>(':memory:', [lines])
  const row = await database
    .insertInto('lines')
    .values({ id: 1, text: 'a', seen: true as unknown as number })
    .returning(['id', 'seen'])
    .executeTakeFirstOrThrow()
  expect(row).toEqual({ id: 1, seen: 1 })
  const streamed = []
  for await (const line of database.selectFrom('lines').select('text').stream()) streamed.push(line)
  expect(streamed).toEqual([{ text: 'a' }])
  const blob = await sql<{ b: Uint8Array }>`select ${new Uint8Array([1, 2])} as b`.execute(database)
  expect(Array.from(blob.rows[0]!.b)).toEqual([1, 2])
  await database.destroy()
})

test('a later migration is applied to a file that has the earlier ones', async () => {
  await (await openDatabase<Tables>(path, [lines])).destroy()
  const database = await openDatabase<Tables>(path, [lines, owners])
  await database.insertInto('lines').values({ id: 1, text: 'a' }).execute()
  await database.insertInto('owners').values({ id: 1, line: 1 }).execute()
  await database.destroy()
})

test('two that open a new file at once both find it complete', async () => {
  const opened = await Promise.all([1, 2].map(() => openDatabase<Tables>(path, [lines, owners])))
  for (const database of opened) await database.selectFrom('owners').selectAll().execute()
  await Promise.all(opened.map((database) => database.destroy()))
})

test('a migration that fails leaves nothing of itself', async () => {
  await (await openDatabase<Tables>(path, [lines])).destroy()
  await expect(openDatabase<Tables>(path, [lines, broken])).rejects.toThrow('nowhere')
  const database = await openDatabase<Tables>(path, [lines, owners])
  await expect(sql`select * from half`.execute(database)).rejects.toThrow('no such table')
  await database.destroy()
})

test('a file of a newer mcm is refused and not touched', async () => {
  await (await openDatabase<Tables>(path, [lines, owners])).destroy()
  const before = await readFile(path)
  await expect(openDatabase<Tables>(path, [lines])).rejects.toMatchObject({
    code: 'MCM_STATE_NEWER',
    exitCode: 8,
  })
  expect(await readFile(path)).toEqual(before)
})

test('a file that is no database is called damaged, with a next step', async () => {
  await (await openDatabase<Tables>(path, [lines])).destroy()
  await writeFile(path, 'not a database at all, and longer than a header of sixteen bytes')
  const error = await openDatabase<Tables>(path, [lines]).catch((e) => e)
  expect(error).toMatchObject({ code: 'MCM_STATE_DAMAGED', exitCode: 8 })
  expect(error.hint).toContain(path)
})

test('a page overwritten in the middle is noticed when opening', async () => {
  const database = await openDatabase<Tables>(path, [lines])
  const text = 'x'.repeat(900)
  for (let id = 0; id < 200; id++) await database.insertInto('lines').values({ id, text }).execute()
  await database.destroy()
  const file = await open(path, 'r+')
  await file.write(Buffer.alloc(8_192, 0xff), 0, 8_192, 4_096 * 3)
  await file.close()
  await expect(openDatabase<Tables>(path, [lines])).rejects.toMatchObject({
    code: 'MCM_STATE_DAMAGED',
  })
})

test('a path that cannot be made is unwritable, not a bug', async () => {
  await writeFile(`${path.split('/data/')[0]}/data`, 'a file where the directory should be')
  await expect(openDatabase<Tables>(path, [lines])).rejects.toMatchObject({
    code: 'MCM_STATE_UNWRITABLE',
  })
})

test('the file is private, durable before a write returns, and checks references', async () => {
  const database = await openDatabase<Tables>(path, [lines, owners])
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  const journal = await sql<{ journal_mode: string }>`pragma journal_mode`.execute(database)
  const synchronous = await sql<{ synchronous: number }>`pragma synchronous`.execute(database)
  expect([journal.rows[0]?.journal_mode, synchronous.rows[0]?.synchronous]).toEqual(['wal', 2])
  await expect(database.insertInto('owners').values({ id: 1, line: 99 }).execute()).rejects.toThrow(
    'FOREIGN KEY',
  )
  await database.destroy()
})

test('a rolled back transaction leaves nothing, and others wait for it', async () => {
  const database = await openDatabase<Tables>(':memory:', [lines])
  const failing = database.transaction().execute(async (transaction) => {
    await transaction.insertInto('lines').values({ id: 1, text: 'a' }).execute()
    throw new Error('no')
  })
  const other = database.insertInto('lines').values({ id: 2, text: 'b' }).execute()
  await expect(failing).rejects.toThrow('no')
  await other
  expect(await database.selectFrom('lines').select('id').execute()).toEqual([{ id: 2 }])
  await database.destroy()
})
