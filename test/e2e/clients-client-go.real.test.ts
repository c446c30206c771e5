import { goClientIsPossible, goClientPath } from '../clients/go-programs.ts'
import { skipUnlessRequired } from '../clients/required.ts'
import { apiServerIsPossible } from '../cluster/api-server.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { clientSuite } from './client-suite.ts'

const skip =
  skipLoudly('client-go through mcm', await apiServerIsPossible('1.36.3')) ||
  skipUnlessRequired('client-go through mcm', await goClientIsPossible('client-go'))

clientSuite({
  title: 'a program made with client-go',
  skip,
  path: () => goClientPath('client-go'),
  transports: ['websocket', 'spdy'],
})
