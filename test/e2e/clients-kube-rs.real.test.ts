import { kubeRsIsPossible, kubeRsPath } from '../clients/kube-rs.ts'
import { skipUnlessRequired } from '../clients/required.ts'
import { apiServerIsPossible } from '../cluster/api-server.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { clientSuite } from './client-suite.ts'

const skip =
  skipLoudly('kube-rs through mcm', await apiServerIsPossible('1.36.3')) ||
  skipUnlessRequired('kube-rs through mcm', await kubeRsIsPossible())

clientSuite({
  title: 'a program made with kube-rs (rustls)',
  skip,
  path: kubeRsPath,
  // It knows no SPDY.
  transports: ['websocket'],
})
