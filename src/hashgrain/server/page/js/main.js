// Starts the page: its language, what the library can do, then the application itself.

import { library } from './api.js';
import { Session } from './session.js';
import { problemText } from './telling.js';
import { preferred, speak, t } from './texts.js';
import { showTheme } from './theme.js';
import './app.js';
import './grid.js';
import './panel.js';
import './results.js';

async function start() {
  showTheme();
  const place = document.querySelector('#page');
  const speaking = speak(preferred());
  try {
    const [known] = await Promise.all([library(), speaking]);
    document.title = `${known.name} – HashGrain`;
    const app = document.createElement('hg-app');
    app.session = new Session(known);
    place.replaceChildren(app);
    await app.session.start();
  } catch (problem) {
    await speaking;
    const told = document.createElement('main');
    told.className = 'broken';
    const again = Object.assign(document.createElement('button'), { type: 'button', textContent: t('problem.retry') });
    again.addEventListener('click', () => location.reload());
    told.append(Object.assign(document.createElement('h1'), { textContent: 'HashGrain' }));
    told.append(Object.assign(document.createElement('p'), { textContent: problemText(problem) }), again);
    place.replaceChildren(told);
  }
}

start();
