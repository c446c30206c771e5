import type { Kysely } from 'kysely'
import type { Statement } from '../directory/statement.ts'
import type { DetailEnvelope } from '../protocol/messages.ts'
import { type Migration, openDatabase } from '../store/database.ts'

/**
 * What a hub keeps, all of it: the signed directory, which agents were here when, and registrations on
 * their way (hashes of tokens, never tokens). It holds no kubeconfig, no certificate authority, no
 * private key, no pairing or invite secret and no byte of relayed traffic: whoever reads this file
 * can enter no cluster. Invariant: what a method confirmed is on the disk.
 */
export interface HubStore {
  /** The whole chain in its order, with every detail. */
  readDirectory(): Promise<{ statements: string[]; details: DetailEnvelope[] }>
  /** Appends after statement `after` (-1: the genesis), all or nothing; false when that is not the last. */
  append(
    after: number,
    statements: readonly Statement[],
    details: readonly DetailEnvelope[],
  ): Promise<boolean>
  readStartTokenHash(): Promise<string | undefined>
  writeStartTokenHash(hash: string | undefined): Promise<void>
  addRegistration(registration: Registration): Promise<void>
  readRegistration(cluster: string): Promise<Registration | undefined>
  /** Keeps what an agent published, if no other agent was first; false otherwise. */
  publish(cluster: string, agentKey: string, publication: string): Promise<boolean>
  deleteRegistrationsBefore(expires: string): Promise<void>
  /** Remembers that replicas of agents are, or were, connected. */
  recordAgents(agents: readonly AgentRecord[]): Promise<void>
  readAgents(): Promise<AgentRecord[]>
  /** In place of what was kept of the device; those that are over by `now` go. */
  writeAdmission(admission: AdmissionRecord, now: string): Promise<void>
  readAdmissions(): Promise<AdmissionRecord[]>
  /** Forgets the admission of a device and remembers, for good, that the device was ended. */
  endAdmission(device: string): Promise<void>
  readEndedDevices(): Promise<string[]>
}

/** A cluster on its way in: from `POST /v1/clusters` until its statement is signed. */
export interface Registration {
  readonly cluster: string
  readonly name: string
  /** SHA-256 of the join token. */
  readonly tokenHash: string
  readonly expires: string
  /** Key id of the admin device. */
  readonly createdBy: string
  /** Key id of the agent that used the token first. */
  readonly agentKey: string | null
  readonly publication: string | null
}

export interface AgentRecord {
  readonly cluster: string
  readonly replica: string
  readonly version: string
  readonly kubernetesVersion: string
  readonly lastSeen: string
}

/** Whom a token let in, as it is kept: `json` is the admission. */
export interface AdmissionRecord {
  readonly device: string
  readonly until: string
  readonly json: string
}

interface HubTables {
  settings: { name: string; value: string }
  statements: { seq: number; hash: string; text: string }
  details: { seq: number; salt: string; text: string }
  registrations: Registration
  agents: AgentRecord
  admissions: AdmissionRecord
  endedDevices: { device: string }
}

export type HubDatabase = Kysely<HubTables>

const START_TOKEN = 'start token hash'

const first: Migration = {
  name: 'directory, registrations, agents',
  async up(database) {
    const { schema } = database
    await schema
      .createTable('settings')
      .addColumn('name', 'text', (column) => column.primaryKey())
      .addColumn('value', 'text', (column) => column.notNull())
      .execute()
    await schema
      .createTable('statements')
      .addColumn('seq', 'integer', (column) => column.primaryKey())
      .addColumn('hash', 'text', (column) => column.notNull().unique())
      .addColumn('text', 'text', (column) => column.notNull())
      .execute()
    await schema
      .createTable('details')
      .addColumn('seq', 'integer', (column) => column.primaryKey().references('statements.seq'))
      .addColumn('salt', 'text', (column) => column.notNull())
      .addColumn('text', 'text', (column) => column.notNull())
      .execute()
    await schema
      .createTable('registrations')
      .addColumn('cluster', 'text', (column) => column.primaryKey())
      .addColumn('name', 'text', (column) => column.notNull())
      .addColumn('tokenHash', 'text', (column) => column.notNull())
      .addColumn('expires', 'text', (column) => column.notNull())
      .addColumn('createdBy', 'text', (column) => column.notNull())
      .addColumn('agentKey', 'text')
      .addColumn('publication', 'text')
      .execute()
    await schema
      .createTable('agents')
      .addColumn('cluster', 'text', (column) => column.notNull())
      .addColumn('replica', 'text', (column) => column.notNull())
      .addColumn('version', 'text', (column) => column.notNull())
      .addColumn('kubernetesVersion', 'text', (column) => column.notNull())
      .addColumn('lastSeen', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('agents_key', ['cluster', 'replica'])
      .execute()
  },
}

const second: Migration = {
  name: 'people admitted by tokens',
  async up(database) {
    await database.schema
      .createTable('admissions')
      .addColumn('device', 'text', (column) => column.primaryKey())
      .addColumn('until', 'text', (column) => column.notNull())
      .addColumn('json', 'text', (column) => column.notNull())
      .execute()
  },
}

const third: Migration = {
  name: 'devices that were ended',
  async up(database) {
    await database.schema
      .createTable('endedDevices')
      .addColumn('device', 'text', (column) => column.primaryKey())
      .execute()
  },
}

/** The tables of a hub, as `startHub` wants them. `path` may be `:memory:`. @throws StateError */
export function openHubDatabase(path: string): Promise<HubDatabase> {
  return openDatabase<HubTables>(path, [first, second, third])
}

export function hubStore(database: HubDatabase): HubStore {
  return {
    async readDirectory() {
      const statements = await database
        .selectFrom('statements')
        .select('text')
        .orderBy('seq')
        .execute()
      const details = await database
        .selectFrom('details')
        .select(['seq', 'salt', 'text'])
        .orderBy('seq')
        .execute()
      return { statements: statements.map(({ text }) => text), details }
    },

    append: (after, statements, details) => append(database, after, statements, details),

    async readStartTokenHash() {
      const row = await database
        .selectFrom('settings')
        .select('value')
        .where('name', '=', START_TOKEN)
        .executeTakeFirst()
      return row?.value
    },

    async writeStartTokenHash(hash) {
      await database.transaction().execute(async (transaction) => {
        await transaction.deleteFrom('settings').where('name', '=', START_TOKEN).execute()
        if (hash === undefined) return
        await transaction
          .insertInto('settings')
          .values({ name: START_TOKEN, value: hash })
          .execute()
      })
    },

    async addRegistration(registration) {
      await database.insertInto('registrations').values(registration).execute()
    },

    readRegistration: (cluster) =>
      database
        .selectFrom('registrations')
        .selectAll()
        .where('cluster', '=', cluster)
        .executeTakeFirst(),

    async publish(cluster, agentKey, publication) {
      const result = await database
        .updateTable('registrations')
        .set({ agentKey, publication })
        .where('cluster', '=', cluster)
        .where((where) =>
          where.or([where('agentKey', 'is', null), where('agentKey', '=', agentKey)]),
        )
        .executeTakeFirst()
      return result.numUpdatedRows > 0n
    },

    async deleteRegistrationsBefore(expires) {
      await database.deleteFrom('registrations').where('expires', '<', expires).execute()
    },

    async recordAgents(agents) {
      await database.transaction().execute(async (transaction) => {
        for (const agent of agents) {
          const { version, kubernetesVersion, lastSeen } = agent
          await transaction
            .insertInto('agents')
            .values(agent)
            .onConflict((conflict) =>
              conflict
                .columns(['cluster', 'replica'])
                .doUpdateSet({ version, kubernetesVersion, lastSeen }),
            )
            .execute()
        }
      })
    },

    readAgents: () =>
      database.selectFrom('agents').selectAll().orderBy('cluster').orderBy('replica').execute(),

    async writeAdmission(admission, now) {
      const { until, json } = admission
      await database.transaction().execute(async (transaction) => {
        await transaction.deleteFrom('admissions').where('until', '<', now).execute()
        await transaction
          .insertInto('admissions')
          .values(admission)
          .onConflict((conflict) => conflict.column('device').doUpdateSet({ until, json }))
          .execute()
      })
    },

    readAdmissions: () => database.selectFrom('admissions').selectAll().execute(),

    async endAdmission(device) {
      await database.transaction().execute(async (transaction) => {
        await transaction.deleteFrom('admissions').where('device', '=', device).execute()
        await transaction
          .insertInto('endedDevices')
          .values({ device })
          .onConflict((conflict) => conflict.doNothing())
          .execute()
      })
    },

    async readEndedDevices() {
      const rows = await database.selectFrom('endedDevices').select('device').execute()
      return rows.map(({ device }) => device)
    },
  }
}

/** Compare and swap on the last number; the primary key decides between two hubs on one database. */
function append(
  database: HubDatabase,
  after: number,
  statements: readonly Statement[],
  details: readonly DetailEnvelope[],
): Promise<boolean> {
  return database.transaction().execute(async (transaction) => {
    const last = await transaction
      .selectFrom('statements')
      .select(({ fn }) => fn.max('seq').as('seq'))
      .executeTakeFirst()
    if ((last?.seq ?? -1) !== after) return false
    const rows = statements.map(({ seq, hash, text }) => ({ seq, hash, text }))
    await transaction.insertInto('statements').values(rows).execute()
    await transaction
      .insertInto('details')
      .values([...details])
      .execute()
    return true
  })
}
