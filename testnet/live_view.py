import contextlib
@contextlib.contextmanager
def view_for(stream, live):
    last=[None]
    def show(s):
        import time
        if s.phase != last[0]:
            print(time.strftime("%X"), s.phase, file=stream); last[0]=s.phase
        elif s.nodes:
            print([ (n.doing, (n.status or {}).get("view"), (n.status or {}).get("rounds_certified")) for n in s.nodes], s.chain and (s.chain.head, len(s.chain.pushes), s.chain.error), file=stream)
    yield show
