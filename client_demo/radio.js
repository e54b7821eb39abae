// Radio groups made of buttons: one tab stop, arrows move.

/** Mark the buttons of `group` for which `chosen(button)` holds. */
export function mark(group, chosen) {
  const buttons = [...group.children];
  let any = false;
  for (const button of buttons) {
    const on = chosen(button);
    any ||= on;
    button.setAttribute('aria-checked', String(on));
    button.tabIndex = on ? 0 : -1;
  }
  if (!any && buttons.length) buttons[0].tabIndex = 0;
}

export function rove(group) {
  group.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const buttons = [...group.children], at = buttons.indexOf(document.activeElement);
    const next = buttons[(at + step + buttons.length) % buttons.length];
    next.focus();
    next.click();
  });
}
