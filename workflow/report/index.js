for (const table of document.querySelectorAll('table.sorts')) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => head.firstElementChild.addEventListener('click', () => {
    const up = head.getAttribute('aria-sort') !== 'ascending';
    heads.forEach(other => other.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const value = row => row.cells[place].dataset.value ?? row.cells[place].textContent;
    const rows = [...body.rows].sort((a, b) => {
      const x = value(a), y = value(b), gone = (x === '') - (y === '');
      if (gone) return gone;
      const way = x !== '' && y !== '' && !isNaN(x) && !isNaN(y) ? x - y : x.localeCompare(y);
      return up ? way : -way;
    });
    body.append(...rows);
  }));
  const field = document.getElementById(table.dataset.filter), count = document.getElementById(table.dataset.count);
  const filter = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${body.rows.length} rows`;
  };
  field.addEventListener('input', filter);
  filter();
}
