"""The colours of plots in pages, as values of CSS variables: ink, what is faint, lines, and up to ten series."""

LIGHT = """--ink: #1b1f24; --faint: #69727d; --line: #dde1e6; --series-0: #d1242f; --series-1: #0969da;
  --series-2: #1a7f37; --series-3: #8250df; --series-4: #bf5b00; --series-5: #0e7f8c; --series-6: #bf3989;
  --series-7: #7d6608; --series-8: #57606a; --series-9: #3f5fbf;"""
DARK = """--ink: #e3e6ea; --faint: #949da8; --line: #30363d; --series-0: #ff7b72; --series-1: #58a6ff;
  --series-2: #56d364; --series-3: #c297ff; --series-4: #f0a04b; --series-5: #4fd1dd; --series-6: #f778ba;
  --series-7: #d9c24a; --series-8: #b1bac4; --series-9: #9db4ff;"""
