import { McmCommand } from '../../command.ts'
import { listDevices } from '../../device/devices.ts'
import { viewDevices } from '../../terminal/device-views.ts'

export default class Devices extends McmCommand {
  static override summary = 'list your devices; for an administrator everybody’s'
  static override description =
    'A device is a key on somebody’s machine. A second invite for the same user, or a second login at the identity provider, brings a second device.'
  static override examples = ['<%= config.bin %> devices', '<%= config.bin %> devices --json']

  async run() {
    await this.parse(Devices)
    return this.show(await this.fleet(listDevices), viewDevices)
  }
}
